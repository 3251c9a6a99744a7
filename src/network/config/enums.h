// The enumerations of a configuration, each with the names that files, overrides and the command line give its values.
// A name is written here once; everything else compares values.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace hadal {

template <class E>
struct EnumNames {};  // of an enumeration with names: `all`, in the order of the values

template <class E>
concept NamedEnum = requires {
  EnumNames<E>::all;
};

template <NamedEnum E>
constexpr const char* enum_name(E value) {
  return EnumNames<E>::all[size_t(value)];
}

// The value of that name, if there is one.
template <NamedEnum E>
constexpr std::optional<E> find_enum(std::string_view name) {
  for (size_t i = 0; i < EnumNames<E>::all.size(); ++i)
    if (EnumNames<E>::all[i] == name) return E(i);
  return std::nullopt;
}

template <NamedEnum E>
std::string enum_choices() {  // "none, norms, all"
  std::string text;
  for (const char* name : EnumNames<E>::all) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

template <NamedEnum E>
E parse_enum(std::string_view what, std::string_view name) {
  const auto value = find_enum<E>(name);
  check(value.has_value(), ErrorKind::invalid, "{} \"{}\" is not one of {}", what, name, enum_choices<E>());
  return *value;
}

enum class ScoreFunction { sigmoid, softmax };  // of the router's logits: V3, V2
template <>
struct EnumNames<ScoreFunction> {
  static constexpr std::array all{"sigmoid", "softmax"};
};

enum class GroupScore { top2_sum, max };  // V3 noaux_tc, V2 group_limited_greedy
template <>
struct EnumNames<GroupScore> {
  static constexpr std::array all{"top2_sum", "max"};
};

enum class Holdout { hash, tail };  // by document hash, or the last fraction of every document's bytes
template <>
struct EnumNames<Holdout> {
  static constexpr std::array all{"hash", "tail"};
};

enum class DocumentMask { none, document };  // none: pre-training; document: attention masked, positions reset
template <>
struct EnumNames<DocumentMask> {
  static constexpr std::array all{"none", "document"};
};

enum class AtEnd { next_epoch, stop };  // when the text is used up
template <>
struct EnumNames<AtEnd> {
  static constexpr std::array all{"next_epoch", "stop"};
};

// How a file holds what is trained on: texts, or dialogues in one of the forms in which they are given away
// (data/dialogue.h).
enum class SourceFormat { text, alpaca, messages, sharegpt, prompt_completion };
template <>
struct EnumNames<SourceFormat> {
  static constexpr std::array all{"text", "alpaca", "messages", "sharegpt", "prompt_completion"};
};

enum class TrainOn { assistant, last, all };  // which tokens of a dialogue are targets: every answer's, the last's, all
template <>
struct EnumNames<TrainOn> {
  static constexpr std::array all{"assistant", "last", "all"};
};

enum class OnLong { drop, stop };  // what becomes of a dialogue that is longer than a sequence
template <>
struct EnumNames<OnLong> {
  static constexpr std::array all{"drop", "stop"};
};

enum class OnBadLine { stop, skip };  // what a line of JSON does that is no JSON or lacks the text
template <>
struct EnumNames<OnBadLine> {
  static constexpr std::array all{"stop", "skip"};
};

enum class Across { off, source, all };  // among which documents near duplicates are looked for
template <>
struct EnumNames<Across> {
  static constexpr std::array all{"off", "source", "all"};
};

enum class CurveShape { constant, linear, cosine };
template <>
struct EnumNames<CurveShape> {
  static constexpr std::array all{"constant", "linear", "cosine"};
};

enum class MomentFormat { fp32, bf16 };
template <>
struct EnumNames<MomentFormat> {
  static constexpr std::array all{"fp32", "bf16"};
};

// What a model computes in: the type of its tensors; fp8: BF16 tensors, whose products multiply FP8 codes as [fp8] says
// (config/fp8_config.h); mxfp8: the same in blocks of MX. `automatic` stands in configurations only: bf16 where the CPU
// multiplies it natively, else fp32 (train/resources.h decides).
enum class Precision { fp64, fp32, bf16, fp16, fp8, mxfp8, automatic };
constexpr bool is_fp8(Precision precision) { return precision == Precision::fp8 || precision == Precision::mxfp8; }
template <>
struct EnumNames<Precision> {
  static constexpr std::array all{"fp64", "fp32", "bf16", "fp16", "fp8", "mxfp8", "auto"};
};

enum class Fp8Scales { exact, power_of_two };
template <>
struct EnumNames<Fp8Scales> {
  static constexpr std::array all{"exact", "power_of_two"};
};

// The scale of a block of MX, a power of two: the next one of amax / 448, or OCP's 2^(floor(log2 amax) - 8), which
// saturates the largest values of some blocks.
enum class MxScales { round_up, ocp };
template <>
struct EnumNames<MxScales> {
  static constexpr std::array all{"round_up", "ocp"};
};

// How products of FP8 codes are summed: in FP32; as Hopper's tensor cores do, promoted to FP32 after every chunk, or
// never (kernels/scaled_gemm.h).
enum class Fp8Accumulate { fp32, hopper, hopper_unpromoted };
template <>
struct EnumNames<Fp8Accumulate> {
  static constexpr std::array all{"fp32", "hopper", "hopper_unpromoted"};
};

// In which format FP8 training keeps an activation for its backward.
enum class Fp8Kept { bf16, e4m3, e5m6 };
template <>
struct EnumNames<Fp8Kept> {
  static constexpr std::array all{"bf16", "e4m3", "e5m6"};
};

// How a model that only runs forward keeps the matrices of its products: as values of its precision; as they are
// stored, which is FP8 for a released model; in FP8, or rounded to groups of int8 or int4.
enum class WeightFormat { values, stored, fp8, int8, int4 };
template <>
struct EnumNames<WeightFormat> {
  static constexpr std::array all{"values", "stored", "fp8", "int8", "int4"};
};

// How a model that generates keeps what its attention reads again of each token: as values of its precision, or in FP8:
// the latent as codes, the rotary key in BF16 (model/latent_cache.h).
enum class CacheFormat { values, fp8 };
template <>
struct EnumNames<CacheFormat> {
  static constexpr std::array all{"values", "fp8"};
};

// What attention keeps of a token: a latent for all heads (V3), keys and values of every head, or of groups of heads.
enum class AttentionKind { mla, mha, gqa };
template <>
struct EnumNames<AttentionKind> {
  static constexpr std::array all{"mla", "mha", "gqa"};
};

// How latent attention computes: with keys and values of every head, or against the latent itself.
enum class AttentionForm { up_projected, absorbed };
template <>
struct EnumNames<AttentionForm> {
  static constexpr std::array all{"up_projected", "absorbed"};
};

// What the backward pass makes again instead of keeping: nothing, norms and MLA up-projections (as in the report), all.
// `automatic` stands in configurations only: norms in FP8, else none.
enum class Recompute { none, norms, all, automatic };
template <>
struct EnumNames<Recompute> {
  static constexpr std::array all{"none", "norms", "all", "auto"};
};

enum class OnFull { stop, wait };  // what a checkpoint does that finds no room on the disk
template <>
struct EnumNames<OnFull> {
  static constexpr std::array all{"stop", "wait"};
};

enum class LossScaleUse { fp16, always };  // with which precisions losses are scaled
template <>
struct EnumNames<LossScaleUse> {
  static constexpr std::array all{"fp16", "always"};
};

enum class OnNan { skip, stop };  // what a step with NaN or Inf does
template <>
struct EnumNames<OnNan> {
  static constexpr std::array all{"skip", "stop"};
};

}  // namespace hadal

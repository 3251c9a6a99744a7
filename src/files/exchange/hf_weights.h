// HfWeights: which stored tensors of a Hugging Face directory make which parameter of the list in arch. Built, and with
// it checked, before any work: a tensor that is missing, misshapen, of an unusable type or without a place in the model
// is an Error that names it. Understood beside the list's own names: FP8 codes with weight_scale_inv; experts fused as
// mlp.experts.gate_up_proj [E, 2F, H] and down_proj [E, H, F] (transformers in memory); the copies of embedding and
// head that MTP layers carry, which must equal the main ones; lm_head.weight of a tied model, likewise; rotary
// inv_freq.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arch/box.h"
#include "arch/parameter_list.h"
#include "exchange/fp8_blocks.h"
#include "exchange/hf_config.h"
#include "storage/tensor_files.h"
#include "tensor/quantised.h"

namespace hadal {

// Rows [first_row, first_row + rows) of the 2-D view of one stored tensor: a whole parameter, or one expert of it.
struct StoredWeight {
  std::string name;
  std::string scale_name;  // empty unless the codes are FP8
  int64_t expert = -1;     // index in the stacked parameter; -1 for the whole
  int64_t first_row = 0, rows = 0;
  int64_t half_split = 0;  // rows of a head, which are in Llama's order (row_of_half_split); 0: all are as ours
};

// What opening reads beside headers and scales. contents: a checkpoint's hashes, and whether copies are copies. sizes:
// nothing, since another rank of the same run has looked at the contents.
enum class FileCheck { contents, sizes };

// The moving average of a parameter, among the tensors that a checkpoint keeps beside the weights.
inline std::string average_name(const ParameterSpec& spec) { return "ema." + spec.name; }

class HfWeights {
 public:
  HfWeights(std::shared_ptr<const TensorFiles> files, const HfConfig& config, const std::vector<ParameterSpec>& specs,
            FileCheck file_check = FileCheck::contents);

  // The moving averages of a run's weights as its weights: of parameters that are trained "ema.NAME" of `averages`,
  // stacked as ours are, and what is never averaged (the router's bias) of `weights`.
  HfWeights(const HfWeights& weights, const TensorFiles& averages, const std::vector<ParameterSpec>& specs);

  std::shared_ptr<const TensorFiles> shared_files() const { return files_; }
  const TensorFiles& files() const { return *files_; }
  const std::vector<StoredWeight>& stored(const ParameterSpec& spec) const;  // one, or one per expert in order
  // Of a parameter's box (or of all of it) the values in any float type, destination of the box's size: FP8 dequantised
  // exactly, experts stacked. Reads of the files what the box needs alone, an expert, row or column outside of it never
  // (but whole heads where their rows are in Llama's order), and not through the map, scales excepted: memory grows by
  // nothing but the destination.
  void read(const Exec& exec, const ParameterSpec& spec, const Box& box, const Tensor& destination) const;
  void read(const Exec& exec, const ParameterSpec& spec, const Tensor& destination) const {
    read(exec, spec, Box::whole(spec.shape), destination);
  }
  // The parameter's codes and scales where all of it is stored as FP8 in blocks of 128 x 128, experts stacked; `source`
  // is the type of the values meant. Memory grows by what is returned.
  std::optional<Quantised> read_codes(const Exec& exec, const ParameterSpec& spec, DType source) const;
  bool is_stored_as_codes(const ParameterSpec& spec) const;  // in such blocks
  // The parameter as a view of the mapped file, where it is stored whole and in this type; else an empty tensor.
  Tensor view(const ParameterSpec& spec, DType dtype) const;
  // Tensors that repeat another one and are not read: name -> name of the one they equal.
  const std::map<std::string, std::string>& copies() const { return copies_; }
  const std::vector<std::string>& notices() const { return notices_; }  // what a user should know

 private:
  struct Mapping;
  std::shared_ptr<const TensorFiles> files_;
  BlockSize block_;
  std::map<std::string, std::vector<StoredWeight>> stored_;  // by our name
  std::map<std::string, std::string> copies_;
  std::vector<std::string> notices_;
};

// A config that claims MTP modules whose tensors are all absent (transformers writes such) loses the claim: n_mtp
// becomes 0 and a notice is added to config.notices.
void drop_absent_mtp(HfConfig& config, const TensorFiles& files);

}  // namespace hadal

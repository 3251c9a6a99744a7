// Config: everything a run is told, as plain structs. Sections of the TOML file carry the field names of Config.
// See model_config.h for visit(). load, overrides, validation and printing are in config_io.h.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/duplicates_config.h"
#include "config/evaluation_config.h"
#include "config/fp8_config.h"
#include "config/model_config.h"
#include "config/rules_config.h"

namespace hadal {

struct TokenizerConfig {
  std::string path;  // an existing tokenizer directory or tokenizer.json; empty = train one on the training split
  int64_t vocab_size = 4096;   // when training
  double split_fused = 0.0;    // fraction of fused punctuation+newline tokens split during model training
  int64_t training_bytes = 0;  // cap on text read for training the tokenizer; 0 = all
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("path", c.path, "existing tokenizer; empty trains one on the training split");
    v("vocab_size", c.vocab_size, "size of a trained vocabulary, special tokens included");
    v("split_fused", c.split_fused,
      "fraction of fused punctuation+newline tokens that are split during training (boundary bias)");
    v("training_bytes", c.training_bytes, "text read for tokenizer training; 0 reads all");
  }
};

struct SourceConfig {
  std::string name;    // shown in tables; default: last path component
  std::string domain;  // under which its losses are told, together with other sources' of it; empty: its name
  std::vector<std::string>
      paths;            // files, directories or globs; .txt .md .py ... as text, .jsonl, either also .gz or .zst
  double weight = 0.0;  // share of training TOKENS; 0 = in proportion to its size
  std::string text_field = "text";
  SourceFormat format = SourceFormat::text;
  TrainOn train_on = TrainOn::assistant;  // of dialogues
  std::vector<std::string> rules;         // rule sets that may refuse its documents
  RulesConfig limits;
  bool near_duplicates = true;  // data.near_duplicates looks at it
  bool keep_numbers = false;    // its numbers stay apart there, whatever fold_numbers says
  double loss_weight = 1.0;     // of each of its tokens' losses, beside the other sources'
  int64_t long_tokens = 0;      // a document of as many is long; 0: none is
  double long_weight = 1.0;     // how often a long document is given in an epoch, on average
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("name", c.name, "name in tables");
    v("domain", c.domain,
      "what losses, bits per byte and expert load are told by; sources may share one; empty is its name");
    v("paths", c.paths, "files, directories or globs");
    v("weight", c.weight, "share of the tokens seen in training; 0 takes its natural share");
    v("text_field", c.text_field,
      "field of a JSONL line that holds the text; of messages and sharegpt their list, where it has another name");
    v("format", c.format, "text, or dialogues: alpaca, messages, sharegpt, prompt_completion");
    v("loss_weight", c.loss_weight,
      "weight of its tokens in the loss, which is the weighted sum over the sum of weights");
    v("long_tokens", c.long_tokens, "tokens from which on a document is long, for long_weight; 0: none is");
    v("long_weight", c.long_weight, "how often a long document is given in each epoch, on average");
    v("train_on", c.train_on, "targets of a dialogue: every assistant's answer, the last answer, or all tokens");
    v("rules", c.rules,
      "rule sets that may refuse its documents: gopher_repetition, gopher_quality, c4, fineweb, code");
    v("limits", c.limits, "what these hold documents to");
    v("near_duplicates", c.near_duplicates, "its documents are among those that data.near_duplicates compares");
    v("keep_numbers", c.keep_numbers, "numbers are told apart in it whatever data.near_duplicates.fold_numbers says");
  }
};

struct DataConfig {
  std::vector<SourceConfig> sources;
  std::string cache;  // directory of tokenised shards; empty = RUN/data
  Holdout holdout = Holdout::hash;
  double holdout_fraction = 0.02;
  OnBadLine on_bad_line = OnBadLine::stop;
  NearDuplicatesConfig near_duplicates;
  DecontaminateConfig decontaminate;
  int64_t sequence_length = 256;
  DocumentMask document_mask = DocumentMask::none;
  double fim_rate = 0.0;  // report: 0.1
  AtEnd at_end = AtEnd::next_epoch;
  int64_t epochs = 1;             // with at_end = stop
  OnLong on_long = OnLong::drop;  // of dialogues
  std::string chat_template;      // of dialogues: a name of the tokenizer's, or a file; empty = its own, else V3's
  int64_t pack_window = 1024;     // sequences packed together
  bool add_bos = false;           // BOS before every document
  uint64_t seed = 1;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("sources", c.sources, "where text comes from");
    v("cache", c.cache, "directory of tokenised shards; empty is RUN/data");
    v("holdout", c.holdout, "held-out split: hash (by document) or tail (last part of every document)");
    v("holdout_fraction", c.holdout_fraction, "share of documents or bytes held out");
    v("on_bad_line", c.on_bad_line, "a JSON line that is no JSON or lacks its text: stop, or skip it and count it");
    v("near_duplicates", c.near_duplicates, "documents that are almost copies of earlier ones");
    v("decontaminate", c.decontaminate, "documents that hold items of evaluations");
    v("sequence_length", c.sequence_length, "tokens per sequence");
    v("document_mask", c.document_mask, "none: attention crosses documents; document: masked, positions reset");
    v("fim_rate", c.fim_rate, "share of passages turned into fill-in-the-middle (report: 0.1)");
    v("at_end", c.at_end, "when the text is used up: next_epoch or stop");
    v("epochs", c.epochs, "passes over every source before at_end = stop");
    v("on_long", c.on_long, "a dialogue longer than a sequence is never cut: drop it and count it, or stop");
    v("chat_template", c.chat_template,
      "template that writes dialogues: one of the tokenizer's by name, or a file; empty takes its own, else "
      "DeepSeek-V3's");
    v("pack_window", c.pack_window, "sequences packed best-fit together");
    v("add_bos", c.add_bos, "begin every document with BOS");
    v("seed", c.seed, "seed of shuffling, packing and fill-in-the-middle");
  }
};

// A value over the progress of a run (optim/curves.h): a list of segments, each starting where the one before ended.
struct CurveSegment {
  CurveShape shape = CurveShape::constant;
  double to = 0.0;     // value at the end of the segment (as a share of the peak value for lr)
  double until = 1.0;  // end of the segment: a number of steps if > 1 and whole, else a fraction of the run
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("shape", c.shape, "constant, linear or cosine");
    v("to", c.to, "value reached at the end (multiple of the base value)");
    v("until", c.until, "end of the segment: steps when above 1, else a fraction of the run");
  }
};

using Curve = std::vector<CurveSegment>;

struct OptimConfig {
  double lr = 3e-3;   // peak
  Curve lr_schedule;  // empty = linear warm-up over 3 %, constant to 60 %, cosine to 0.1
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1, clip = 1.0;
  MomentFormat moments = MomentFormat::fp32;
  double ema_decay = 0.0;  // 0 = no EMA
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("lr", c.lr, "peak learning rate");
    v("lr_schedule", c.lr_schedule, "segments of the learning rate, as multiples of lr");
    v("beta1", c.beta1, "AdamW beta1");
    v("beta2", c.beta2, "AdamW beta2");
    v("eps", c.eps, "AdamW epsilon");
    v("weight_decay", c.weight_decay, "decoupled weight decay; norms, biases and the router's bias are exempt");
    v("clip", c.clip, "global gradient norm is clipped to this; 0 = off");
    v("moments", c.moments, "storage of Adam's moments: fp32 or bf16 (with precision fp64 always fp64)");
    v("ema_decay", c.ema_decay, "decay of the exponential moving average of weights; 0 = none");
  }
};

struct TrainConfig {
  Precision precision = Precision::fp32;
  AttentionForm attention_form = AttentionForm::up_projected;
  Recompute recompute = Recompute::automatic;
  int64_t steps = 1000;
  int64_t batch_sequences = 16;       // global batch at full size
  Curve batch_ramp;                   // multiples of batch_sequences; empty = constant
  int64_t micro_batch_sequences = 0;  // 0 = chosen from memory and speed
  double bias_update_speed = 0.001;   // gamma of the auxiliary-loss-free balancing
  double bias_freeze = 0.966;         // fraction of the run after which gamma is 0 (14.3T of 14.8T)
  double balance_alpha = 1e-4;        // sequence-wise balance loss
  Curve mtp_weight;                   // lambda; empty = 0.3 to 67.6 % of the run, then 0.1
  OnNan on_nan = OnNan::skip;
  int64_t max_skips = 10;  // consecutive
  uint64_t seed = 1;
  std::string start_model;  // directory whose weights the run starts from; empty = from initialisation
  bool start_average = false, start_moments = false, start_extends = false;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("precision", c.precision,
      "fp64, fp32, bf16, fp16 (losses then scaled, see loss_scale), fp8 (BF16 tensors, FP8 products: see fp8), mxfp8 "
      "(the "
      "same in blocks of 32) or auto "
      "(bf16 where the place multiplies it natively, else fp32)");
    v("attention_form", c.attention_form, "of mla: up_projected (cheaper in training) or absorbed");
    v("recompute", c.recompute,
      "none, norms (norms and MLA up-projections), all, or auto: norms in fp8 and mxfp8, else none");
    v("steps", c.steps, "optimizer steps; 0 takes as many as data.epochs give, with data.at_end = stop");
    v("batch_sequences", c.batch_sequences, "sequences in the global batch");
    v("batch_ramp", c.batch_ramp, "segments of the batch size, as multiples of batch_sequences");
    v("micro_batch_sequences", c.micro_batch_sequences, "sequences per forward; 0 chooses");
    v("bias_update_speed", c.bias_update_speed, "gamma of the expert bias update, once per step");
    v("bias_freeze", c.bias_freeze, "fraction of the run after which gamma is 0");
    v("balance_alpha", c.balance_alpha, "weight of the sequence-wise balance loss");
    v("mtp_weight", c.mtp_weight, "segments of lambda, the weight of the MTP loss");
    v("on_nan", c.on_nan, "a step with NaN or Inf: skip or stop");
    v("max_skips", c.max_skips, "consecutive skipped steps after which the run stops");
    v("seed", c.seed, "seed of initialisation");
    v("start_model", c.start_model,
      "model directory whose weights training starts from, as given with --model; empty initialises");
    v("start_average", c.start_average, "start from the moving average of its weights");
    v("start_moments", c.start_moments, "go on with its moments and its moving average, of a run");
    v("start_extends", c.start_extends, "model.yarn and model.max_positions are this run's, not that model's");
  }
};

// The dynamic loss scale (optim/loss_scaler.h). Powers of two, so that scaling rounds nothing.
struct LossScaleConfig {
  LossScaleUse use = LossScaleUse::fp16;
  double initial = 65536, growth = 2, backoff = 0.5, floor = 1, cap = 16777216;
  int64_t growth_steps = 1000, hysteresis = 2;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("use", c.use, "fp16: with train.precision = \"fp16\" alone; always: with any precision, where it changes no bit");
    v("initial", c.initial, "what losses are multiplied by at first; a power of two, as all scales here");
    v("growth", c.growth, "factor after growth_steps steps without overflow");
    v("growth_steps", c.growth_steps, "clean steps in a row after which the scale grows");
    v("backoff", c.backoff, "factor on an overflow of gradients");
    v("hysteresis", c.hysteresis, "overflows from which on the scale falls; counted anew when it grows");
    v("floor", c.floor, "smallest scale; gradients that overflow there end the run");
    v("cap", c.cap, "largest scale");
  }
};

// How many ranks compute a run together, along each axis. May be another at every start: it changes no more than the
// order of sums.
struct ParallelConfig {
  int64_t dp = 1, pp = 1, ep = 1, tp = 1, cp = 1;
  std::string schedule = "1f1b";  // of the pipeline (schedule/pipeline.h)
  int64_t chunks = 1;
  int64_t node_ranks = 0;
  int64_t drift_steps = 100;
  int64_t ranks() const { return dp * pp * tp * cp; }
  bool operator==(const ParallelConfig&) const = default;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("dp", c.dp, "data ranks: each computes other micro-batches and updates its share of the parameters (ZeRO-1)");
    v("pp", c.pp, "pipeline ranks: each holds some layers");
    v("ep", c.ep, "expert ranks: experts are spread over so many of a stage's dp * cp * tp ranks");
    v("tp", c.tp, "tensor ranks: heads, FFNs and vocabulary are cut");
    v("cp", c.cp, "context ranks: sequences are cut");
    v("schedule", c.schedule, "of the pipeline: 1f1b, interleaved, zb1p, dualpipe, dualpipev");
    v("chunks", c.chunks, "stages of each rank, of the interleaved schedule");
    v("node_ranks", c.node_ranks, "ranks of one machine, for tokens' way to experts on others; 0: all are on one");
    v("drift_steps", c.drift_steps, "steps between proofs that copies of parameters are equal to the bit; 0: never");
  }
};

struct CheckpointConfig {
  int64_t every_steps = 200;
  int64_t keep = 2;
  bool asynchronous = true;
  OnFull on_full = OnFull::stop;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("every_steps", c.every_steps, "steps between checkpoints; 0 = only at the end");
    v("keep", c.keep, "checkpoints kept");
    v("asynchronous", c.asynchronous, "write while training goes on");
    v("on_full", c.on_full, "a checkpoint that finds the disk full: stop ends the run, wait waits for room");
  }
};

struct ValidationConfig {
  int64_t every_steps = 100;
  int64_t max_bytes = 0;  // of held-out text per validation on the way; 0 = all. The last one always reads all
  int64_t stride = 0;     // tokens between windows; 0 = half a sequence
  int64_t samples = 1;    // texts generated on the way
  int64_t sample_tokens = 64;
  std::vector<std::string> prompts;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("every_steps", c.every_steps, "steps between validations; 0 = only at the end");
    v("max_bytes", c.max_bytes, "held-out bytes read on the way; 0 reads all");
    v("stride", c.stride, "tokens between windows; 0 is half a sequence");
    v("samples", c.samples, "texts generated on the way");
    v("sample_tokens", c.sample_tokens, "length of a sample");
    v("prompts", c.prompts, "beginnings of samples");
  }
};

struct Config {
  std::string run;  // run directory; default runs/<name of the file>
  TokenizerConfig tokenizer;
  DataConfig data;
  ModelConfig model;
  OptimConfig optim;
  TrainConfig train;
  Fp8Config fp8;
  LossScaleConfig loss_scale;
  ParallelConfig parallel;
  CheckpointConfig checkpoint;
  ValidationConfig validation;
  EvaluationConfig evaluation;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("run", c.run, "run directory; default runs/NAME of the configuration file");
    v("tokenizer", c.tokenizer, "tokenizer");
    v("data", c.data, "text, split, packing");
    v("model", c.model, "architecture");
    v("optim", c.optim, "optimizer");
    v("train", c.train, "training");
    v("fp8", c.fp8, "recipe of train.precision = fp8 and mxfp8");
    v("loss_scale", c.loss_scale, "loss scale of fp16");
    v("parallel", c.parallel, "ranks that train together");
    v("checkpoint", c.checkpoint, "checkpoints");
    v("validation", c.validation, "validation and samples");
    v("evaluation", c.evaluation, "what the model is asked at the end");
  }
};

}  // namespace hadal

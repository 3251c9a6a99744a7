// The proof that a layout computes what one rank computes: a small model is trained for some steps on one rank and on
// the layout's ranks, over made-up batches, and everything that a step has is compared: loss, expert loads, norm, the
// gradient of every parameter, weights on every rank, biases, moments. `hadal check layouts` and the tests run this.
//
//   fp64   every relative distance at most 1e-9: nothing but the order of sums may differ
//   fp32   1e-5, and 1e-4 for moments and weights, times the step's number, with the routes of the one rank replayed (a
//          rounding may not send a token elsewhere)
//   bf16, fp16, fp8   no further from the fp64 run than 1.25 times the one rank's distance, all parameters and steps
//          together; gradients of fp16 are compared without their loss scale
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/exec.h"
#include "comm/transport.h"
#include "config/config.h"
#include "train/layout_findings.h"

namespace hadal {

struct LayoutCase {
  Config config;  // model, batch, optimizer, precision and layout, as they are trained here
  int64_t steps = 3;
  uint64_t seed = 1;                  // of weights and text
  std::vector<int64_t> lengths = {};  // of the sequences of a batch; none: drawn
  bool weighted = false;              // losses of passages have weights of their own
  uint64_t untrained_eighths = 1;     // of tokens: no targets; many where dialogues are trained on
  bool idle_expert = false;           // each router with a selection bias keeps its last expert without tokens
  // Tests put faults between ranks; empty: nothing.
  std::function<std::shared_ptr<Transport>(std::shared_ptr<Transport>)> wrap = {};
};

// exec: its instruction set and threads, which the ranks divide among themselves. transport: of ranks that are
// processes, at least as many as the layout has, which all call this; the first finds, the others find nothing. Null:
// ranks are threads.
LayoutFindings check_layout(const LayoutCase& layout_case, const Exec& exec,
                            const std::shared_ptr<Transport>& transport = nullptr);

// The same model, narrow: hidden size, heads' sizes, latents, FFNs and vocabulary shrink; layers, heads, experts,
// groups and MTP modules stay. Large widths make no other code run, only wait.
Config shrunk_in_width(Config config);

// A configuration's model, narrow, in a layout, over batches that make run what its own might not: several
// micro-batches on every data rank, more on some than on others; masked documents, recomputation, a clip below the norm
// of gradients, an expert without tokens where routers have a selection bias.
LayoutCase layout_case_of(const Config& config, const ParallelConfig& parallel, Precision precision);

// A case drawn from (seed, number): layout, model, batch, optimizer, recomputation, masks.
LayoutCase random_layout_case(uint64_t seed, int64_t number, Precision precision);
std::string layout_case_text(const LayoutCase& layout_case);  // one line

}  // namespace hadal

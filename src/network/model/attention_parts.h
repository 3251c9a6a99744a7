// What latent and grouped attention do alike, on one rank and where ranks share a micro-batch (row_split.h): the output
// product over heads of all tensor ranks, and attention's backward over the runs of context ranks.
#pragma once
#include <functional>
#include <vector>

#include "model/pass.h"
#include "nn/kept.h"
#include "nn/linear.h"
#include "ops/attention.h"

namespace hadal {

// Partners and boxes are told apart (ModelShare); here they must fit: `q` is cut over tensor ranks where rows are.
void check_attention_rows(const Parameter& q, const Rows& rows);

// y (+)= W_o o: of own rows, the sum over all ranks' heads; o [Q, heads * v] gets this rank's from attend(part), which
// is called for all queries, or where tensor ranks share them part by part: each travels while the next is made.
void output_forward(const Pass& pass, const Rows& rows, const Linear& linear, const Tensor& y, const Tensor& o,
                    ops::Write write, const RowSplit::MakerOfPart& attend);
// What of o, this linear's input, is kept for backward.
Activation kept_output(const Exec& exec, const Linear& linear, const Tensor& o, Kept form);
// Returns do [Q, heads * v]; `dy` of own rows becomes that of all queries, which W reads. `under_way`: what was sent
// ahead of it (Piece::send_ahead), or nothing.
Tensor output_backward(const Pass& pass, const Rows& rows, const Linear& linear, PartsUnderWay& under_way, Tensor& dy);

// ops::attention_forward of this rank's heads for these queries of all of them.
void attend_forward(const Exec& exec, ops::AttentionInputs in, const ops::RowRange& part, const Tensor& o,
                    const Tensor& lse);

struct AttentionResult {  // of a forward, and its gradient
  Tensor result, lse, d_result;
};
// Writes dq, and gradients of keys into `d_keys`, of all keys, some of which may be empty; `views` makes of such
// tensors what attention writes. Keys of a document in which this rank's queries are two runs are written twice, and
// added up; keys that no query of this rank sees get zeros.
using GradientViews = std::function<ops::AttentionGradients(const std::vector<Tensor>& d_keys)>;
void attention_backward_of_runs(const Exec& exec, const Rows& rows, ops::AttentionInputs in,
                                const AttentionResult& forward, const std::vector<Tensor>& d_keys,
                                const GradientViews& views);

}  // namespace hadal

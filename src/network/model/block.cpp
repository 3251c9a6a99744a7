#include "model/block.h"

#include "ops/pointwise.h"

namespace hadal {
namespace {

Tensor copy_of(const Run& run, const Tensor& x) {
  const Tensor y = Tensor::empty(run.exec, x.dtype(), {x.rows(), x.cols()});
  ops::copy(run.exec, y, x);
  return y;
}

Activation normalise(const Run& run, const Norm& norm, const Tensor& x, Norm::Saved& saved, const GemmRecipe& reader) {
  PartClock::Scope scope(run.clock, Part::norms);
  return norm.forward(run.exec, x, saved, reader);
}

// dx = dy (the residual's way) + the norm's gradient
Tensor through_norm(const Run& run, const Norm& norm, const Tensor& dy, const Tensor& d_normed, Norm::Saved& saved) {
  PartClock::Scope scope(run.clock, Part::norms);
  const Tensor dx = copy_of(run, dy);
  norm.backward_input(run.exec, dx, d_normed, saved, true);
  return dx;
}

}  // namespace

Tensor AttentionPiece::forward(const Run& run, const Rows& rows, const Tensor& x, Saved& saved) const {
  saved.normed = normalise(run, norm, x, saved.norm, mla.input_recipe());
  PartClock::Scope scope(run.clock, Part::attention);
  const Tensor y = copy_of(run, x);
  mla.forward(run, rows, y, saved.normed, ops::Write::add, saved.mla);
  if (!run.keep) {
    saved = Saved();
  } else if (run.recompute != Recompute::none) {
    saved.normed.reset();
    mla.drop(run.recompute, saved.mla);
  }
  return y;
}

Tensor AttentionPiece::backward_input(const Run& run, const Rows& rows, const Tensor& dy, Saved& saved) const {
  if (!saved.normed) saved.normed = normalise(run, norm, saved.norm.x, saved.norm, mla.input_recipe());
  Tensor d_normed;
  {
    PartClock::Scope scope(run.clock, Part::attention);
    mla.restore(run, rows, saved.normed, saved.mla);
    d_normed = mla.backward_input(run, rows, dy, saved.mla);
  }
  return through_norm(run, norm, dy, d_normed, saved.norm);
}

void AttentionPiece::backward_weight(const Run& run, Saved& saved) const {
  {
    PartClock::Scope scope(run.clock, Part::attention);
    mla.backward_weight(run, saved.normed, saved.mla);
  }
  PartClock::Scope scope(run.clock, Part::norms);
  norm.backward_weight(run.exec, saved.norm);
  saved = Saved();
}

Tensor FfnPiece::forward(const Run& run, const Rows& rows, const Tensor& x, Saved& saved) const {
  saved.normed = normalise(run, norm, x, saved.norm, input_recipe());
  const Tensor y = copy_of(run, x);
  if (is_moe()) {
    moe.forward(run, rows, y, saved.normed.tensor(), saved.moe);
    moe.drop(run.keep ? run.recompute : Recompute::all, saved.moe);
  } else {
    PartClock::Scope scope(run.clock, Part::dense_ffn);
    dense.forward(run.exec, y, saved.normed, ops::Write::add, saved.dense);
    if (run.recompute == Recompute::all) saved.dense.gate_up.reset();
  }
  if (!run.keep) {
    saved.norm = {};
    saved.normed.reset();
    saved.dense = {};
  } else if (run.recompute != Recompute::none) {
    saved.normed.reset();
  }
  return y;
}

Tensor FfnPiece::backward_input(const Run& run, const Tensor& dy, Saved& saved) const {
  if (!saved.normed) saved.normed = normalise(run, norm, saved.norm.x, saved.norm, input_recipe());
  Tensor d_normed;
  if (is_moe()) {
    moe.restore(run, saved.normed.tensor(), saved.moe);
    d_normed = moe.backward_input(run, dy, saved.moe);
  } else {
    PartClock::Scope scope(run.clock, Part::dense_ffn);
    dense.restore(run.exec, saved.normed, saved.dense);
    d_normed = Tensor::empty(run.exec, dy.dtype(), {dy.rows(), dy.cols()});
    dense.backward_input(run.exec, d_normed, dy, ops::Write::overwrite, saved.dense);
  }
  return through_norm(run, norm, dy, d_normed, saved.norm);
}

void FfnPiece::backward_weight(const Run& run, Saved& saved) const {
  if (is_moe()) {
    moe.backward_weight(run, saved.normed.tensor(), saved.moe);
  } else {
    PartClock::Scope scope(run.clock, Part::dense_ffn);
    dense.backward_weight(run.exec, saved.normed, saved.dense);
  }
  PartClock::Scope scope(run.clock, Part::norms);
  norm.backward_weight(run.exec, saved.norm);
  saved = Saved();
}

Tensor Block::forward(const Run& run, const Rows& rows, const Tensor& x, Saved& saved) const {
  const Tensor h = attention.forward(run, rows, x, saved.attention);
  return ffn.forward(run, rows, h, saved.ffn);
}

Tensor Block::backward_input(const Run& run, const Rows& rows, const Tensor& dy, Saved& saved) const {
  return attention.backward_input(run, rows, ffn.backward_input(run, dy, saved.ffn), saved.attention);
}

void Block::backward_weight(const Run& run, Saved& saved) const {
  ffn.backward_weight(run, saved.ffn);
  attention.backward_weight(run, saved.attention);
}

Tensor Block::backward(const Run& run, const Rows& rows, Tensor dy, Saved& saved) const {
  Tensor dh = ffn.backward_input(run, dy, saved.ffn);
  ffn.backward_weight(run, saved.ffn);
  dy = attention.backward_input(run, rows, dh, saved.attention);
  dh.reset();
  attention.backward_weight(run, saved.attention);
  return dy;
}

}  // namespace hadal

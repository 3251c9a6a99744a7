// Parameter: one weight (or the stacked weights of all experts of a layer) with what everything else needs to know of
// it: the one descriptor that optimizer, checkpoint, gradient norm, reductions and layouts read.
//
// Gradients are written through contribute() alone. A step expects a number of contributions (Stage::expect counts what
// will run: one for each piece that reads the parameter, per micro-batch). The first overwrites the gradient, so nobody
// zeroes it; when the last has arrived the gradient is complete and its reduction may start.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arch/box.h"
#include "arch/parameter_list.h"
#include "ops/write.h"
#include "tensor/weight.h"

namespace hadal {

struct Parameter {
  ParameterSpec spec;  // names, global shape, kind, initialiser (arch/parameter_list.h)
  // This rank's part of spec.shape; the tensors below have its size. Others hold it too (layout/placement.h).
  Box box;
  // Of a matrix that tensor ranks hold parts of: how they make codes whose tiles lie on several of them.
  std::shared_ptr<const CutMatrix> cut;
  Weight value;  // what kernels read, in every form that a reader wants; plain: f64, f32, bf16 or f16 (f32 for specs
                 // kept in high precision)
  // Products multiply it in FP8: refresh_value() (init.h) keeps such codes, made of the master.
  std::optional<CodeForm> codes;
  bool codes_alone = false;          // and no product reads anything else: the plain value is the master itself
  bool codes_may_be_packed = false;  // for forward products, with the bits of those of codes
  Tensor master;  // f32 (f64): what the optimizer updates; the same memory as value when the dtypes agree. Where ranks
                  // share the update (optim/sharding.h), memory of its own holds this rank's elements alone
  Tensor grad;    // f32 (f64), written through contribute(); empty when not training
  std::function<void()> on_complete;  // after the last contribution: the reduction may start; may be empty
  // Of ranks that share the update: new values may still be under way. Whoever reads `value` calls it before, as the
  // stage does for its pieces; says whether it had to be asked for. May be empty: the values are here.
  std::function<bool(const Exec&)> await_value;

  // Where the cut goes through the rows (axis 0: outputs of a linear) or the columns (1: inputs); null: it does not.
  const CutMatrix* cut_along(int axis) const { return cut && cut->axis == axis ? cut.get() : nullptr; }

  // Whether tensor ranks make its codes together: all of them at the same time, in the parameters' order.
  bool shares_codes() const { return codes && codes->shared(); }

  // A step begins: `contributions` will come (negative: nobody counted). What the gradient holds is void.
  void expect(int64_t contributions);
  // One contribution: add(grad, write) adds to the gradient in one or more products, the first of which must write over
  // all of it where `write` says overwrite. Throws internal when more come than were expected.
  template <class Add>
  void contribute(Add&& add) {
    arrive();
    add(grad, how_to_write());
    if (complete() && on_complete) on_complete();
  }
  // The same from a piece that had no rows for this parameter.
  void contribute_nothing();

  int64_t expected() const { return expected_; }
  int64_t arrived() const { return arrived_; }
  bool complete() const { return arrived_ == expected_; }

 private:
  void arrive();
  ops::Write how_to_write();

  int64_t expected_ = -1, arrived_ = 0;
  bool written_ = false;
};

using Parameters = std::vector<Parameter*>;  // in the order of the list in arch
using ParameterVisitor = std::function<void(Parameter&)>;

}  // namespace hadal

// The vocabulary cut over ranks: each holds some rows of the embedding and of the head, which the parameter's box says.
// All members of a group see the same tokens.
#pragma once
#include "nn/parameter.h"

namespace hadal {

class Group;

// Whether the box is less than all rows of the parameter.
bool is_slice_of_vocabulary(const Parameter& weight);
// ids [n] i32 as rows of the box; -1 where the row lies elsewhere, or the id is negative. Throws invalid where an id is
// beyond the vocabulary.
Tensor own_rows_of(const Exec& exec, const Parameter& weight, const Tensor& ids);

// The same as ops::cross_entropy over the columns of all members, of which `logits` are the own ones: the losses, with
// the same bits on every member, and with gradient logits := the own columns of it. own_targets: from own_rows_of.
// Four numbers of each row travel; they are combined in the order of the members.
struct CrossEntropyPart {
  Tensor logits;       // [rows, own columns] f64 or f32
  Tensor targets;      // [rows] i32, of the whole vocabulary; < 0: none
  Tensor own_targets;  // [rows] i32
  Tensor losses;       // [rows], contiguous, dtype of the logits
  double scale = 1;
  bool gradient = false;
};
void cross_entropy_of_parts(const Exec& exec, const CrossEntropyPart& part, Group& partners);

}  // namespace hadal

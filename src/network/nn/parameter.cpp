#include "nn/parameter.h"

#include "base/error.h"

namespace hadal {

void Parameter::expect(int64_t contributions) {
  expected_ = contributions;
  arrived_ = 0;
  written_ = false;
}

void Parameter::arrive() {
  check(expected_ < 0 || arrived_ < expected_, ErrorKind::internal,
        "{} got more than the {} contributions to its gradient that this step was to bring", spec.name, expected_);
  ++arrived_;
}

ops::Write Parameter::how_to_write() {
  const bool first = !written_;
  written_ = true;
  return first ? ops::Write::overwrite : ops::Write::add;
}

void Parameter::contribute_nothing() {
  arrive();
  // Nobody who has rows may come any more: what is left of the step before must go.
  if (!written_ && (expected_ < 0 || complete())) {
    grad.zero();
    written_ = true;
  }
  if (complete() && on_complete) on_complete();
}

}  // namespace hadal

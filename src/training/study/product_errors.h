// What single choices of the recipe are worth, shown by products of synthetic operands: no model, no training.
#pragma once
#include <string>
#include <vector>

#include "base/exec.h"

namespace hadal {

struct ProductRow {
  std::string what;          // "dx of a token, tokens' sizes log-normal, sigma 3"
  std::string ours, theirs;  // what is compared
  double our_error = 0, their_error = 0;
  double least = 0;     // the ratio that is to be expected at least; 0: none
  std::string missing;  // why it cannot be measured here; empty: it was
  double ratio() const { return our_error > 0 ? their_error / our_error : 0; }
};

std::vector<ProductRow> product_errors(const Exec& exec);

}  // namespace hadal

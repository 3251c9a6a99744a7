// NotFinite: an Error that says numbers became NaN or Inf. A type of its own, so that a training step can be skipped
// for this reason and for no other: a wrong shape stays an error.
#pragma once
#include "base/error.h"

namespace hadal {

class NotFinite : public Error {
 public:
  explicit NotFinite(const std::string& message) : Error(ErrorKind::failed, message) {}
};

}  // namespace hadal

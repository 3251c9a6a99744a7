// The error of a write for which there was no room: a full disk, a quota, a limit on the size of files. Of kind io like
// other refusals of the system, and a type of its own for who can wait until there is room.
#pragma once
#include "base/error.h"

namespace hadal {

class DiskFull : public Error {
 public:
  explicit DiskFull(const std::string& message) : Error(ErrorKind::io, message) {}
};

}  // namespace hadal

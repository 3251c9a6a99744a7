// The error of a write for which there was no room: a full disk, a quota, a limit on the size of files. Of kind io like
// other refusals of the system, and a type of its own for who can wait until there is room.
#pragma once
#include "base/error.h"

namespace hadal {

class DiskFull : public Error {
 public:
  explicit DiskFull(const std::string& message, bool room_may_come = true)
      : Error(ErrorKind::io, message), room_may_come_(room_may_come) {}
  bool room_may_come() const { return room_may_come_; }  // not below a limit on the size of files

 private:
  bool room_may_come_;
};

}  // namespace hadal

// Why a rank ends, in words that its log and the other ranks can use.
#pragma once
#include <exception>
#include <new>
#include <string>

namespace hadal {

inline std::string reason_of(const std::exception& error) {
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ? "out of memory" : error.what();
}

}  // namespace hadal

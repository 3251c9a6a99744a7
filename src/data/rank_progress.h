// What a progress line is called where ranks divide the work: the first one shows its own share.
#pragma once
#include <fmt/format.h>

#include <string>

#include "comm/group.h"

namespace hadal::data {

inline std::string progress_label(const Group& ranks, const std::string& work) {
  return ranks.size() == 1 ? work : fmt::format("{} (the first of {} ranks)", work, ranks.size());
}

}  // namespace hadal::data

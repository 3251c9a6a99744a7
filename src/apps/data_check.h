// `hadal data check`, a verb below `hadal data`.
#pragma once
#include "apps/cli.h"

namespace hadal {

void add_data_check(Verb data, Cli& cli);

}  // namespace hadal

// hadal check engine, a verb below check.
#pragma once
#include "apps/cli.h"

namespace hadal {

void add_check_engine(Verb verb, Cli& cli);

}  // namespace hadal

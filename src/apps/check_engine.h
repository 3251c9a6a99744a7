// hadal check engine, a verb below check.
#pragma once
#include <string>
#include <vector>

#include "apps/cli.h"
#include "engine/engine_check.h"

namespace hadal {

void add_check_engine(Verb verb, Cli& cli);

// Prints what was found on `model`, and gives the exit status: kExitFailed where anything differs.
int print_engine_check(const std::vector<EngineCondition>& all, bool json, const std::string& model);

}  // namespace hadal

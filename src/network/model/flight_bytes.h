// The most memory that flights take at once while a list of actions runs.
#pragma once
#include <map>

#include "model/stage.h"
#include "schedule/schedule.h"

namespace hadal {

int64_t most_flight_bytes(const Actions& actions, const std::map<int64_t, StageBytes>& of_stage);  // by stage

}  // namespace hadal

// The oracle's batches, as its JSON files write them: tokens, targets, positions, segments and sequences as [begin,
// count].
#pragma once
#include <string>

#include "nn/micro_batch.h"

namespace hadal::oracle {

MicroBatch parse_batch(const std::string& json);  // defined in oracle_case.cpp

}  // namespace hadal::oracle

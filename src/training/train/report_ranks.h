// The parts of a report page that tell where ranks waited for each other, and what of their traffic was hidden.
#pragma once
#include <string>
#include <vector>

#include "train/run_record.h"

namespace hadal {

// A heading and its charts; empty where every run had one rank.
std::string wait_charts(const std::vector<RunRecord>& runs);
// Of the last 100 steps the median share that was waited for pipeline neighbours; "-" of one rank.
std::string median_bubble(const RunRecord& run);
std::string median_hidden(const RunRecord& run);  // "gradients 95 %, values 99 %", of all kinds of traffic that came

}  // namespace hadal

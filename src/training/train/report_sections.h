// Parts of pages about runs, as HTML: of one run (report.h), or of the phases of one (phases/phase_report.h).
// Everything that comes from a run, a text or a model is escaped.
#pragma once
#include <string>

#include "train/run_record.h"

namespace hadal {

// Sources with documents and tokens, what was removed of them by which rule; a sentence where the text is gone.
std::string data_section(const RunRecord& run);
// How the first sequences of the first step are packed; empty of a run that did not note it.
std::string packing_picture(const RunRecord& run);
// Of runs whose sources have several domains: the experts' load of each at the last validation; else empty.
std::string domain_loads(const RunRecord& run);
// Samples, at most so many of the last ones (0: all).
std::string sample_timeline(const RunRecord& run, size_t most = 0);
std::string configuration_details(const RunRecord& run);

}  // namespace hadal

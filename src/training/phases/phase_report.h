// The page of a run with phases: RUN/report.html. All phases stand on one axis of tokens, one behind the other in the
// order of the configuration, whichever each started from; below it what was removed of their texts, how they are
// packed, what evaluations found (RUN/NAME/evals, train/evaluation_record.h) and what each phase wrote at its end. One
// file without scripts or requests; everything that comes from a run, a text or a model is escaped.
#pragma once
#include <filesystem>
#include <string>

namespace hadal {

// Throws not_found for a run none of whose phases has made a step.
std::string phase_report_html(const std::filesystem::path& run);

}  // namespace hadal

// Serving a loaded model until the user stops it: for `hadal serve` and `hadal demo --serve`.
#pragma once
#include "apps/cli.h"
#include "dialogue/text_model.h"
#include "server/serving.h"

namespace hadal {

// Prints where it can be reached, then answers until SIGINT or SIGTERM; what runs then is answered still.
int serve_until_stopped(const Exec& exec, const TextModel& loaded, const ServingOptions& options, bool quiet);

}  // namespace hadal

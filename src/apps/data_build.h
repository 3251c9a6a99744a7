// `hadal data build`, a verb below `hadal data`.
#pragma once
#include "apps/cli.h"
#include "base/log.h"
#include "data/prepare.h"

namespace hadal {

void add_data_build(Verb data, Cli& cli);

// How verbs below `hadal data` prepare: what there is to say goes to the log; corpus_notes() are not among it.
data::PrepareOptions prepare_options(Log& log, bool quiet, data::OnChange on_change);

}  // namespace hadal

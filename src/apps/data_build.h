// `hadal data build`, a verb below `hadal data`.
#pragma once
#include "apps/cli.h"
#include "apps/data_config.h"
#include "base/log.h"
#include "data/prepare.h"

namespace hadal {

void add_data_build(Verb data, Cli& cli);

// A phase takes the tokenizer that the first one's text makes: builds that text, where it is to be and is not yet.
// Every rank of how.ranks calls it. own_text: the sources are not the configuration's (prepare_run_data).
void build_tokenizer(const AskedText& text, const Exec& exec, const data::PrepareOptions& how, bool own_text);

// How verbs below `hadal data` prepare: what there is to say goes to the log; corpus_notes() are not among it.
data::PrepareOptions prepare_options(Log& log, bool quiet, data::OnChange on_change);

}  // namespace hadal

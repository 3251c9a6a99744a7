// Reading that ranks divide among themselves: the list of files, and what each rank found, brought together.
#pragma once
#include <vector>

#include "comm/group.h"
#include "data/common_groups.h"
#include "data/corpus_ledger.h"
#include "data/file_shares.h"

namespace hadal::data {

// The first rank's list of files, on every rank.
void tell_sources(Group& ranks, std::vector<SourceFiles>& sources);

// The first rank enters the findings of all in its ledger, in corpus order. Every rank has the ledger's facts and
// first documents then, and what reading told of the files of all in `sources`; counts and second hashes are the first
// rank's alone. Messages: 40 bytes of each document to the first rank, 24 from it.
void gather_findings(Group& ranks, const FileShares& shares, Findings own, std::vector<SourceFiles>& sources,
                     CorpusLedger& ledger);

// Suspects of all ranks, under their numbers in the corpus, in its order; the same on every rank.
std::vector<MetSuspect> gather_suspects(Group& ranks, const std::vector<MetSuspect>& own);

}  // namespace hadal::data

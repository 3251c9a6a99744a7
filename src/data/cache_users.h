// Who uses a cache of tokenised text. Several runs may share one, and what one was trained on is not another's to
// replace.
//   CACHE/users/HASH   one line: the directory of a run that has begun and whose configuration names this cache
// A run with its text in RUN/data has no entry: that is its own.
#pragma once
#include <filesystem>
#include <vector>

namespace hadal::data {

void add_cache_user(const std::filesystem::path& cache, const std::filesystem::path& run);

// Runs but `own` that use the cache, by name: those with an entry (a run that is gone may only have moved), and the one
// in whose data/ it lies, once it has begun.
std::vector<std::filesystem::path> other_cache_users(const std::filesystem::path& cache,
                                                     const std::filesystem::path& own);

// Throws invalid, naming the others and what to do, if there are any. `why`: what a build would replace.
void check_not_shared(const std::filesystem::path& cache, const std::filesystem::path& own, const std::string& why);

}  // namespace hadal::data

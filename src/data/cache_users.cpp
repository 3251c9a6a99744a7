#include "data/cache_users.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"

namespace hadal::data {
namespace fs = std::filesystem;
namespace {

fs::path whole(const fs::path& path) {
  const fs::path found = fs::weakly_canonical(fs::absolute(path));
  return found.has_filename() ? found : found.parent_path();
}

fs::path entry_of(const fs::path& cache, const fs::path& run) {
  return cache / "users" / xxh3_128_hex(run.string()).substr(0, 16);
}

}  // namespace

void add_cache_user(const fs::path& cache, const fs::path& run) {
  const fs::path user = whole(run);
  if (whole(cache) == user / "data" || fs::exists(entry_of(cache, user))) return;
  make_directories(cache / "users");
  atomic_write(entry_of(cache, user), user.string() + "\n");
}

std::vector<fs::path> other_cache_users(const fs::path& cache, const fs::path& own) {
  const fs::path place = whole(cache), self = own.empty() ? fs::path() : whole(own);
  std::vector<fs::path> users;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(cache / "users", none)) {
    std::string user = read_file(entry.path());
    while (user.ends_with('\n')) user.pop_back();
    if (!user.empty() && user != self) users.emplace_back(user);
  }
  const fs::path around = place.parent_path();
  if (place.filename() == "data" && fs::exists(around / "config.toml") && fs::exists(around / "lock") && around != self)
    users.push_back(around);
  std::sort(users.begin(), users.end());
  return users;
}

void check_not_shared(const fs::path& cache, const fs::path& own, const std::string& why) {
  const auto users = other_cache_users(cache, own);
  std::string names;
  for (size_t i = 0; i < users.size() && i < 5; ++i)
    names += (i ? ", " : "") + users[i].string() + (fs::exists(users[i] / "config.toml") ? "" : " (not there now)");
  if (users.size() > 5) names += fmt::format(" and {} more", users.size() - 5);
  check(users.empty(), ErrorKind::invalid,
        "'{}' holds the tokenised text of {}, and a build from what is asked for now would replace it ({}); give this "
        "one a place of its own with --set data.cache=NEW, or delete '{}' if no run needs it",
        cache.string(), names, why, cache.string());
}

}  // namespace hadal::data

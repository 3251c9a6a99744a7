#include "train/rank_log.h"

#include <unistd.h>

#include "base/files.h"

namespace hadal {

RankLog::RankLog(std::shared_ptr<Transport> transport) : transport_(std::move(transport)), log_(LogLevel::silent) {
  transport_->tell_last_waits([this](const std::string& text) {
    log_.warn("{}", text);
    fmt::print(stderr, "hadal: rank {} {}\n", transport_->rank(), text);
    std::fflush(stderr);
  });
}

RankLog::~RankLog() { transport_->tell_last_waits(nullptr); }

void RankLog::open(const std::filesystem::path& logs, const std::string& name_of_rank) {
  if (transport_->size() < 2) return;
  make_directories(logs);
  log_.open_file(logs / fmt::format("rank_{:04d}.log", transport_->rank()));
  say(fmt::format("started as {} of {}, process {}, over {}", name_of_rank, transport_->size(), getpid(),
                  transport_->name()));
}

void RankLog::failed(const std::string& why) {
  const std::string at = transport_->doing().text();
  log_.error("ended{}{}: {}", at.empty() ? "" : " at ", at, why);
}

}  // namespace hadal

// What one rank of several says of itself: RUN/logs/rank_0003.log, appended to at every start, with its start, its end
// and why it failed. And the last words of a rank that is told to stop while it waits for one that is gone.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "base/log.h"
#include "comm/transport.h"

namespace hadal {

class RankLog {
 public:
  explicit RankLog(std::shared_ptr<Transport> transport);
  ~RankLog();
  RankLog(const RankLog&) = delete;
  RankLog& operator=(const RankLog&) = delete;

  // Throws io where the file cannot be opened. Nothing is opened for a rank alone, nor kept of what was said before.
  void open(const std::filesystem::path& logs, const std::string& name_of_rank);
  void say(const std::string& text) { log_.info("{}", text); }
  void failed(const std::string& why);  // and where the rank was

 private:
  std::shared_ptr<Transport> transport_;
  Log log_;
};

}  // namespace hadal

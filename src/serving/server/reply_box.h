// ReplyBox: what waits to be sent to one peer. Any thread fills it; the thread that moves bytes empties it.
#pragma once
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "server/http_message.h"

namespace hadal {

class ReplyBox : public HttpReply {
 public:
  struct Ways {
    std::function<void()> wake;  // there is something to send; from any thread
    std::function<void(std::function<void()>)> on_a_worker;
    int64_t waiting_bytes = 0;  // more: the peer is cut off
  };
  explicit ReplyBox(Ways ways) : ways_(std::move(ways)) {}

  void answer(HttpAnswer answer) override;
  void begin(int status, std::string type) override;
  void piece(std::string bytes) override;
  void end() override;
  bool gone() const override;
  void on_gone(std::function<void()> cancel) override;
  void later(std::function<void()> work) override { ways_.on_a_worker(std::move(work)); }

  // For the thread that moves bytes.
  struct Taken {
    std::optional<HttpAnswer> answer;                 // whole
    std::optional<std::pair<int, std::string>> head;  // a stream begins: status and type
    std::string bytes;                                // of the stream
    bool ended = false, overrun = false;
    bool nothing() const { return !answer && !head && bytes.empty() && !ended && !overrun; }
  };
  Taken take();
  void leave();  // the peer is gone: calls what on_gone() gave
  void close();  // all is sent: lets go what on_gone() gave
  bool overrun() const;

 private:
  Ways ways_;
  mutable std::mutex mutex_;
  Taken waiting_;
  bool begun_ = false, ended_ = false, gone_ = false, overrun_ = false, closed_ = false;
  std::function<void()> cancel_;
};

}  // namespace hadal

#include "server/reply_box.h"

#include <utility>

namespace hadal {

void ReplyBox::answer(HttpAnswer answer) {
  {
    const std::lock_guard lock(mutex_);
    if (begun_ || gone_) return;
    begun_ = ended_ = true;
    waiting_.answer = std::move(answer);
    waiting_.ended = true;
  }
  ways_.wake();
}

void ReplyBox::begin(int status, std::string type) {
  {
    const std::lock_guard lock(mutex_);
    if (begun_ || gone_) return;
    begun_ = true;
    waiting_.head = std::pair(status, std::move(type));
  }
  ways_.wake();
}

void ReplyBox::piece(std::string bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (!begun_ || ended_ || gone_) return;
    waiting_.bytes += bytes;
    if (int64_t(waiting_.bytes.size()) > ways_.waiting_bytes) {
      gone_ = overrun_ = waiting_.overrun = true;  // its request ends with the next token; leave() follows
      waiting_.bytes = std::string();
    }
  }
  ways_.wake();
}

void ReplyBox::end() {
  {
    const std::lock_guard lock(mutex_);
    if (!begun_ || ended_) return;
    ended_ = waiting_.ended = true;
  }
  ways_.wake();
}

bool ReplyBox::gone() const {
  const std::lock_guard lock(mutex_);
  return gone_;
}

bool ReplyBox::overrun() const {
  const std::lock_guard lock(mutex_);
  return overrun_;
}

void ReplyBox::on_gone(std::function<void()> cancel) {
  bool at_once = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    if (gone_ && !overrun_)
      at_once = true;
    else
      cancel_ = std::move(cancel);
  }
  if (at_once) cancel();
}

ReplyBox::Taken ReplyBox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(waiting_, {});
}

void ReplyBox::leave() {
  std::function<void()> cancel;
  {
    const std::lock_guard lock(mutex_);
    gone_ = true, overrun_ = false;
    cancel.swap(cancel_);
  }
  if (cancel) cancel();
}

void ReplyBox::close() {
  std::function<void()> released;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  released.swap(cancel_);
}

}  // namespace hadal

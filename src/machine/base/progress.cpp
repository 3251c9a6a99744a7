// See progress.h.
#include "base/progress.h"

#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "base/text_format.h"

namespace hadal {
namespace {

constexpr double kRedrawSeconds = 0.1;

void put(int descriptor, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = ::write(descriptor, text.data() + done, text.size() - done);
    if (wrote <= 0) return;  // a closed or full screen is no reason to stop the work
    done += size_t(wrote);
  }
}

}  // namespace

Progress::Progress(std::string label, int64_t total, ProgressOptions options)
    : label_(std::move(label)),
      total_(total),
      options_(std::move(options)),
      start_(steady_seconds()),
      terminal_(redraws_lines(options_.descriptor)) {
  next_.store(start_ + (terminal_ ? kRedrawSeconds : options_.plain_seconds));
}

Progress::~Progress() {
  if (drawn_ && !finished_ && terminal_) put(options_.descriptor, "\r\033[K");
}

std::string Progress::amount(double value) const {
  return options_.unit == "B" ? format_bytes(value) : format_count(int64_t(value));
}

std::string Progress::line(int64_t done, double seconds, int columns) const {
  const std::string per_second = seconds <= 0 ? ""
                                 : options_.unit == "B"
                                     ? "  " + format_bytes(double(done) / seconds) + "/s"
                                     : fmt::format("  {} {}/s", format_si(double(done) / seconds), options_.unit);
  std::string tail;
  double share = 0;
  if (total_ > 0) {
    share = std::clamp(double(done) / double(total_), 0.0, 1.0);
    const double left = done > 0 ? seconds * (double(total_) / double(done) - 1) : -1;
    tail = fmt::format(" {:3.0f} %  {} / {}{}", 100 * share, amount(double(done)), amount(double(total_)), per_second);
    if (left >= 0 && done < total_) tail += "  " + format_duration(left) + " left";
  } else {
    tail = fmt::format(" {}{}", amount(double(done)), per_second);
  }
  if (!note_.empty()) tail += "  " + note_;
  const int room = columns - display_width(label_) - display_width(tail) - 4;
  if (total_ <= 0 || room < 8) return label_ + tail;
  const int width = std::min(room, 30), full = int(share * width);
  return fmt::format("{} [{}{}]{}", label_, std::string(size_t(full), '#'), std::string(size_t(width - full), '.'),
                     tail);
}

void Progress::update(int64_t done) {
  if (options_.quiet || steady_seconds() < next_.load(std::memory_order_relaxed)) return;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || finished_) return;
  const double now = steady_seconds();
  if (now < next_.load()) return;
  next_.store(now + (terminal_ ? kRedrawSeconds : options_.plain_seconds));
  drawn_ = true;
  if (terminal_) {
    put(options_.descriptor, "\r" + line(done, now - start_, terminal_columns(options_.descriptor)) + "\033[K");
  } else {
    put(options_.descriptor, line(done, now - start_, 0) + "\n");
  }
}

void Progress::note(std::string text) {
  std::lock_guard lock(mutex_);
  note_ = std::move(text);
}

void Progress::finish() {
  std::lock_guard lock(mutex_);
  if (finished_) return;
  finished_ = true;
  if (options_.quiet) return;
  const double seconds = steady_seconds() - start_;
  const double done = double(done_.load());
  std::string rate;
  if (seconds > 0) {
    rate = options_.unit == "B" ? format_bytes(done / seconds) + "/s"
                                : fmt::format("{} {}/s", format_si(done / seconds), options_.unit);
  }
  put(options_.descriptor, fmt::format("{}{}: {} in {}{}{}\n", terminal_ ? "\r\033[K" : "", label_, amount(done),
                                       format_duration(seconds), rate.empty() ? "" : ", ", rate));
}

}  // namespace hadal

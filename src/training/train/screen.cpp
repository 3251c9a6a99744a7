// Live line and log lines.
#include "train/screen.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/clock.h"
#include "base/text_format.h"

namespace hadal {

namespace {
constexpr double kPlainSeconds = 10;
}

namespace {

// Of as many as fit beside the other figures; metrics.jsonl has all.
std::string domain_losses(const StepResult& result, const StepFacts& facts) {
  constexpr size_t kShown = 4;
  std::string text;
  for (size_t d = 0; d < result.domains.size() && d < std::min(kShown, facts.domains.size()); ++d) {
    const DomainLoss& one = result.domains[d];
    text += fmt::format("{}{} {}", text.empty() ? " (" : ", ", facts.domains[d],
                        one.targets > 0 ? fmt::format("{:.3f}", one.loss) : "-");
  }
  if (text.empty()) return text;
  return text + (result.domains.size() > kShown ? ", ...)" : ")");
}

}  // namespace

std::string step_line(const StepResult& result, const StepFacts& facts) {
  std::string line = fmt::format("step {}/{} {:.0f} % | loss {:.4f}", result.step, facts.total_steps,
                                 100.0 * double(result.step) / double(facts.total_steps), facts.smoothed_loss);
  line += domain_losses(result, facts);
  for (size_t k = 0; k < result.mtp_loss.size(); ++k)
    line += fmt::format(" mtp{} {:.3f}", result.mtp_loss.size() > 1 ? std::to_string(k + 1) : "", result.mtp_loss[k]);
  if (!result.load.empty()) line += fmt::format(" | load {:.2f}", result.load_max_over_mean);
  if (result.loss_scale > 0) {
    line += fmt::format(" | scale {}", result.loss_scale);
    if (result.overflows > 0) line += fmt::format(" ({} skipped)", result.overflows);
  }
  if (result.dialogues) {
    const double per_second =
        facts.tokens_per_second * double(result.targets) / double(std::max<int64_t>(1, result.tokens));
    line += fmt::format(" | {} tok/s trained, padding {:.0f} %, epoch {}{}", format_si(per_second),
                        100 * double(result.padding) / double(std::max<int64_t>(1, result.tokens + result.padding)),
                        result.epoch, facts.epochs > 0 ? fmt::format("/{}", facts.epochs) : "");
  }
  const double norm = std::isnan(result.norms.global) ? std::abs(result.norms.global) : result.norms.global;  // no -nan
  line += fmt::format(" | grad {:.2f} | lr {:.2e} | {} tok/s mfu {:.0f} % | {} | {}/{} tok | ETA {}", norm, result.lr,
                      format_si(facts.tokens_per_second), 100 * facts.mfu, format_bytes(double(facts.memory_bytes)),
                      format_si(double(facts.tokens_done)), format_si(double(facts.tokens_done + facts.tokens_left)),
                      format_duration(facts.eta_seconds));
  return line;
}

Screen::Screen(Log& log, bool quiet) : log_(log), quiet_(quiet), terminal_(redraws_lines(2)) {}

Screen::~Screen() { wipe(); }

void Screen::wipe() {
  if (live_) std::fputs("\r\033[K", stderr);
  live_ = false;
}

void Screen::say(const std::string& text) {
  wipe();
  log_.info("{}", text);
}

void Screen::warn(const std::string& text) {
  wipe();
  log_.warn("{}", text);
}

void Screen::step(const StepResult& result, const StepFacts& facts) {
  if (quiet_) return;
  std::string line = step_line(result, facts);
  const bool last = result.step == facts.total_steps;
  if (steady_seconds() >= next_plain_ || last) {
    next_plain_ = steady_seconds() + kPlainSeconds * (terminal_ ? 6 : 1);
    say(line);
  } else if (terminal_) {
    const size_t columns = size_t(terminal_columns(2));
    if (line.size() >= columns) line.resize(columns - 1);
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    live_ = true;
  }
}

}  // namespace hadal

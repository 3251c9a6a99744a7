// What the kernel benches share: options and main, a meter that takes the machine's peak in the same moments as the
// kernel, and the floors of which the run's exit status tells.
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/exec.h"
#include "base/isa.h"
#include "bench/peak.h"

namespace hadal::bench {

struct Options {
  int threads = 0;
  std::string isa = "best", only;
  double seconds = 0.25;  // per case, type and direction
  double sgemm = 0;       // GFLOP/s of the best other FP32 product measured on this machine
  std::string model;      // of the engine's bench: a directory that is there

  bool chosen(const std::string& name) const { return name.find(only) != std::string::npos; }
  Isa exact_isa() const {  // "avx512" here means exactly that
    for (Isa exact : available_isas()) {
      if (isa == isa_name(exact)) return exact;
    }
    return isa == "best" ? best_isa() : parse_isa(isa);
  }
};

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + int64_t(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Cores come and go on shared machines and clocks change: kernel and peak take turns, for as long at once and in all,
// and the best of either counts.
class Meter {
 public:
  struct Result {
    double seconds = 1e30, f32 = 0, pairs = 0;  // best time; GFLOP/s of the peaks of FP32 and of bf16 pairs
  };

  // The peak is no lower than `candidate` GFLOP/s, whatever a disturbed moment shows.
  Meter(ThreadPool& pool, Isa isa, double candidate) : pool_(pool), isa_(isa), candidate_(candidate) {
    f32_ = std::max(candidate, peak_gflops(pool, isa, false, 0.3));
    pairs_ = peak_gflops(pool, isa, true, 0.1);
  }
  double f32() const { return f32_; }
  double pairs() const { return pairs_; }
  bool has_pairs() const { return isa_ >= Isa::avx512_bf16; }

  // `enough` may ask for more turns when noise seems to hide the kernel's speed.
  template <class Body, class Enough>
  Result measure(Body&& body, double budget, Enough&& enough) const {
    constexpr int kTurns = 4, kMostTurns = 24;
    constexpr double kUndisturbed = 0.9;  // of the peak at the start: below it another program holds a core
    Result result;
    result.f32 = candidate_;
    body();
    result.seconds = best_seconds(body, 0);
    const auto settled = [&] { return result.f32 >= kUndisturbed * f32() && enough(result); };
    for (int turn = 0; turn < kTurns || (turn < kMostTurns && !settled()); ++turn) {
      const auto peak = [&](bool pairs) { return peak_gflops(pool_, isa_, pairs, budget / kTurns, result.seconds); };
      result.f32 = std::max(result.f32, peak(false));
      if (has_pairs()) result.pairs = std::max(result.pairs, peak(true));
      result.seconds = std::min(result.seconds, best_seconds(body, budget / kTurns));
    }
    return result;
  }

 private:
  ThreadPool& pool_;
  Isa isa_;
  double candidate_, f32_, pairs_;
};

// Which rows promised a share of the peak, and which did not keep it. What a neighbour on the machine takes away for
// seconds is no fault of a kernel: a row that misses its floor is measured once more when all others are done, and only
// what misses it twice has failed.
class Floors {
 public:
  // The column's text; empty without a floor. `shares` are of the FP32 peak, or of what `of` names.
  std::string judge(const std::string& row, double floor, const std::vector<double>& shares,
                    const char* of = "the peak") {
    if (floor <= 0) return "";
    const double worst = *std::min_element(shares.begin(), shares.end());
    const bool held = worst >= floor;
    held_ += held;
    if (!held) missed_.emplace_back(row, fmt::format("{:.1f}% of {}, floor {:.0f}%", 100 * worst, of, 100 * floor));
    const char* verdict = held ? "held" : last_look_ ? "FAILED" : "missed: again below";
    return fmt::format("  floor {:.0f}% {}", 100 * floor, verdict);
  }
  // print(row) measures a row and judges it, under the name name(row).
  template <class Rows, class Name, class Print>
  void measure(const Options& options, const Rows& rows, Name name, Print print) {
    for (const auto& row : rows) {
      if (options.chosen(name(row))) print(row);
    }
    const auto again = std::exchange(missed_, {});
    last_look_ = true;
    if (!again.empty()) std::printf("\nonce more:\n");
    for (const auto& row : rows) {
      const auto is_row = [&](const auto& missed) { return missed.first == name(row); };
      if (std::any_of(again.begin(), again.end(), is_row)) print(row);
    }
  }
  int exit_code() const {
    std::printf("\n%d floors, %d held\n", held_ + int(missed_.size()), held_);
    for (const auto& [row, what] : missed_) std::printf("missed: %s: %s\n", row.c_str(), what.c_str());
    return missed_.empty() ? 0 : 1;
  }

 private:
  int held_ = 0;
  bool last_look_ = false;
  std::vector<std::pair<std::string, std::string>> missed_;  // row, and what it reached
};

// Reads the options (wrong ones, and --help, end here), runs, and gives the exit code: 2 where an Error says why not.
int main_of(int argc, char** argv, const char* about, int (*run)(const Options&));

}  // namespace hadal::bench

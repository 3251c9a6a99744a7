#include "train/step_trace.h"

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "comm/byte_text.h"

namespace hadal {
namespace {

bool is(const PieceEvent& event, const char* piece) { return std::strcmp(event.piece, piece) == 0; }

// A trace has times in microseconds; what a rank sends of itself is its part of the list, as text.
std::string trace_of_rank(const std::vector<PieceEvent>& events, RankPlace& place) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  const int rank = place.rank();
  list.push_back({{"name", "thread_name"}, {"ph", "M"}, {"pid", 0}, {"tid", rank}, {"args", {{"name", place.name()}}}});
  for (const PieceEvent& e : events)
    list.push_back({{"name", fmt::format("{} {}", e.piece, e.part)},
                    {"cat", e.traffic ? "traffic" : "compute"},
                    {"ph", "X"},
                    {"pid", 0},
                    {"tid", rank},
                    {"ts", e.begin * 1e6},
                    {"dur", (e.end - e.begin) * 1e6},
                    {"args", {{"stage", e.stage}, {"micro_batch", e.micro_batch}}}});
  const std::string text = json_text(list);
  return text.substr(1, text.size() - 2);
}

}  // namespace

StepWaits waits_of(const std::vector<PieceEvent>& events, double seconds) {
  StepWaits waits;
  double under_way = 0;
  std::map<std::tuple<char, int64_t, int64_t>, double> left;  // when rows of a micro-batch's F or B left
  for (const PieceEvent& e : events) {
    if (!e.traffic) continue;
    if (is(e, "receive") || is(e, "values") || is(e, "gradients")) {
      (is(e, "receive") ? waits.pipeline : waits.data) += e.end - e.begin;
      continue;
    }
    const std::tuple key{e.part, e.stage, e.micro_batch};
    if (e.ends) {
      waits.experts += e.end - e.begin;
      if (const auto found = left.find(key); found != left.end()) under_way += e.end - found->second;
    }
    if (e.starts) left[key] = e.end;
  }
  if (under_way > 0) waits.hidden = 1 - waits.experts / under_way;
  if (seconds > 0) waits.pipeline /= seconds, waits.data /= seconds, waits.experts /= seconds;
  return waits;
}

StepTrace::StepTrace(RankPlace& place, std::string file) : place_(place), file_(std::move(file)) {
  place_.world().barrier();  // all count from about the same moment
  timeline_.now = [origin = steady_seconds()] { return steady_seconds() - origin; };
}

StepWaits StepTrace::end_step(double seconds) {
  ByteWriter writer;
  writer(waits_of(timeline_.events, seconds));
  StepWaits all;
  const auto sent = place_.world().exchange(writer.text);
  for (const std::string& text : sent) {
    StepWaits one;
    ByteReader reader(text);
    reader(one);
    const double share = 1.0 / double(sent.size());
    all.pipeline += share * one.pipeline, all.data += share * one.data, all.experts += share * one.experts,
        all.hidden += share * one.hidden;
  }
  if (!file_.empty() && steps_ < kSteps) kept_.insert(kept_.end(), timeline_.events.begin(), timeline_.events.end());
  timeline_.events.clear();
  if (++steps_ == kSteps) write();
  return all;
}

void StepTrace::finish() {
  if (steps_ > 0) write();
}

void StepTrace::write() {
  if (file_.empty() || written_) return;
  written_ = true;
  std::string all = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  bool first = true;
  for (const std::string& part : place_.world().exchange(trace_of_rank(kept_, place_))) {
    all += (first ? "" : ",\n") + part;
    first = false;
  }
  kept_.clear();
  if (place_.world().leads()) atomic_write(file_, all + "]}\n");
}

}  // namespace hadal

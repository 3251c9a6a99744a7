#include "train/step_trace.h"

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/open_device.h"
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

RankWaits waits_of(const std::vector<PieceEvent>& events) {
  RankWaits waits;
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
      if (const auto found = left.find(key); found != left.end()) waits.under_way += e.end - found->second;
    }
    if (e.starts) left[key] = e.end;
  }
  return waits;
}

StepWaits shares_of(const std::vector<RankWaits>& ranks, double seconds) {
  StepWaits all;
  double under_way = 0;
  for (const RankWaits& one : ranks)
    all.pipeline += one.pipeline, all.data += one.data, all.experts += one.experts, under_way += one.under_way;
  if (under_way > 0) all.hidden = 1 - all.experts / under_way;  // ranks without such rows do not count
  const double time = seconds * double(ranks.size());
  if (time > 0) all.pipeline /= time, all.data /= time, all.experts /= time;
  return all;
}

StepTrace::StepTrace(RankPlace& place, std::string file, OpenDevice* device)
    : place_(place), file_(std::move(file)), device_(device) {
  place_.world().barrier();  // all count from about the same moment
  timeline_.now = [this, origin = steady_seconds()] {
    if (device_ && !file_.empty() && steps_ < kSteps) device_->wait();
    return steady_seconds() - origin;
  };
}

StepWaits StepTrace::end_step(double seconds) {
  ByteWriter writer;
  writer(waits_of(timeline_.events));
  std::vector<RankWaits> ranks;
  for (const std::string& text : place_.world().exchange(writer.text)) {
    ByteReader reader(text);
    reader(ranks.emplace_back());
  }
  const StepWaits all = shares_of(ranks, seconds);
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
  all += "]";
  if (device_)
    all += fmt::format(",\"otherData\":{{\"times\":\"of {}, which the host waited for behind each piece\"}}",
                       device_name(device_->device()));
  if (place_.world().leads()) atomic_write(file_, all + "}\n");
}

}  // namespace hadal

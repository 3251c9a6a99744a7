#include "train/step_trace.h"

#include <algorithm>
#include <cstring>
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
  for (const PieceEvent& e : events) {
    if (!e.traffic) continue;
    const double seconds = e.end - e.begin;
    if (is(e, "receive")) {
      waits.pipeline += seconds;
    } else if (is(e, "values") || is(e, "gradients")) {
      waits.data += seconds;
    } else if (e.ends) {
      waits.experts += seconds;
    }
  }
  return waits;
}

void add_travels(const RankTravels& travels, RankWaits& waits) {
  const auto add = [&](TrafficKind kind, const std::vector<Travel>& of) {
    waits.travels[size_t(kind)].add(times_of(of));
  };
  add(TrafficKind::pipeline, travels.pipeline.travels), add(TrafficKind::experts, travels.experts.travels);
  add(TrafficKind::tensor, travels.tensor.travels), add(TrafficKind::context, travels.context.travels);
  std::vector<Travel> sums, values;
  for (const Travel& one : travels.holders.travels)
    (std::strcmp(one.operation, "reduce_scatter") == 0 ? sums : values).push_back(one);
  add(TrafficKind::gradients, sums), add(TrafficKind::values, values);
}

StepWaits shares_of(const std::vector<RankWaits>& ranks, double seconds) {
  StepWaits all;
  for (const RankWaits& one : ranks) {
    all.pipeline += one.pipeline, all.data += one.data, all.experts += one.experts;
    for (size_t kind = 0; kind < all.travels.size(); ++kind) all.travels[kind].add(one.travels[kind]);
  }
  const double time = seconds * double(ranks.size());
  if (time > 0) all.pipeline /= time, all.data /= time, all.experts /= time;
  return all;
}

StepTrace::StepTrace(RankPlace& place, std::string file, OpenDevice* device)
    : place_(place), file_(std::move(file)), device_(device) {
  place_.world().barrier();  // all count from about the same moment
  origin_ = steady_seconds();
  timeline_.now = [this] {
    if (device_ && !file_.empty() && steps_ < kSteps) device_->wait();
    return steady_seconds() - origin_;
  };
}

Timeline& StepTrace::begin_step(Sharding* sharding) {
  place_.travels().begin(timeline_.now);
  if (sharding) sharding->watch(&place_.travels().holders);
  return timeline_;
}

StepWaits StepTrace::end_step(double seconds) {
  RankWaits own = waits_of(timeline_.events);
  add_travels(place_.travels(), own);
  ByteWriter writer;
  writer(own), writer(timeline_.now());
  std::vector<RankWaits> ranks;
  double latest = 0;
  for (const std::string& text : place_.world().exchange(writer.text)) {
    ByteReader reader(text);
    double now = 0;
    reader(ranks.emplace_back()), reader(now);
    latest = std::max(latest, now);
  }
  // What the last rank has said is here on all of them at about the same moment: clocks of several machines stay one.
  origin_ = steady_seconds() - latest;
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

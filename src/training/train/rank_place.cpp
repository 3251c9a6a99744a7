#include "train/rank_place.h"

#include <algorithm>

#include "base/error.h"
#include "config/config_io.h"
#include "layout/mesh_text.h"
#include "optim/curves.h"
#include "train/resources.h"

namespace hadal {

void check_started(const Placement& placement, int64_t started) {
  ParallelConfig nearest = placement.mesh().sizes();
  const int64_t asked = placement.mesh().n_ranks(), others = nearest.pp * nearest.cp * nearest.tp;
  if (asked == started) return;
  nearest.dp = std::max<int64_t>(1, started / others);
  try {
    check(nearest.ranks() == started, ErrorKind::invalid, "{} ranks", started);
    Placement(placement.model(), nearest);
  } catch (const Error&) {  // its other axes do not fit so many
    nearest = {.dp = started};
  }
  fail(ErrorKind::invalid,
       "the layout has {} ranks, but {} were started: start {}, or give a layout of {}, such as --layout {}", asked,
       started, asked, started, layout_text(nearest));
}

RankPlace::RankPlace(const ModelConfig& model, const ParallelConfig& parallel, std::shared_ptr<Transport> transport)
    : transport_(std::move(transport)), placement_(model, parallel), world_(transport_, "all ranks of the layout") {
  const Mesh& mesh = placement_.mesh();
  check_started(placement_, world_.size());
  seat_ = mesh.seat(rank());
  tensor_ = group_of("tensor", mesh.tensor_group(rank()), travels_.tensor);
  context_ = group_of("context", mesh.context_group(rank()), travels_.context);
  experts_ = group_of("experts", mesh.expert_group(rank()), travels_.experts);
  experts_across_ = group_of("experts across nodes", mesh.experts_across(rank()), travels_.experts);
  experts_within_ = group_of("experts within a node", mesh.experts_within(rank()), travels_.experts);
  activations_ = group_of("pipeline activations", mesh.pipeline_group(rank()), travels_.pipeline);
  gradients_ = group_of("pipeline gradients", mesh.pipeline_group(rank()), travels_.pipeline);
}

Placement placement_of(const Config& config) {
  ModelConfig model = config.model;
  if (model.vocab_size == 0) model.vocab_size = config.tokenizer.vocab_size;
  return Placement(model, config.parallel);
}

// Null where there is nobody else.
std::unique_ptr<Group> RankPlace::group_of(const char* axis, const std::vector<int>& members, TravelLog& log) const {
  if (members.size() < 2) return nullptr;
  auto group = std::make_unique<Group>(transport_, fmt::format("{} from rank {}", axis, members.front()), members);
  group->watch(&log);
  return group;
}

ModelShare RankPlace::share() const {
  ModelShare share;
  share.box = [this](const ParameterSpec& spec) -> std::optional<Box> {
    const auto holding = placement_.holding_of(spec, world_.rank());
    return holding ? std::optional(holding->box) : std::nullopt;
  };
  share.stages = placement_.stages_of(rank());
  share.partners = {tensor_.get(), context_.get(), experts_.get(), experts_across_.get(), experts_within_.get()};
  share.links = {placement_.pipeline(1), activations_.get(), gradients_.get()};
  share.doing = &transport_->doing();
  return share;
}

bool RankPlace::holds_whole_model() const {
  const ParallelConfig& p = placement_.mesh().sizes();
  return placement_.parts().size() == 1 && p.ep == 1 && p.tp == 1 && p.cp == 1;
}

std::string RankPlace::name() const {
  const ParallelConfig& p = placement_.mesh().sizes();
  std::string seat;
  const auto along = [&](const char* axis, int64_t size, int64_t at) {
    if (size > 1) seat += fmt::format("{}{} {}", seat.empty() ? "" : ", ", axis, at);
  };
  along("pipeline", p.pp, seat_.pipeline), along("data", p.dp, seat_.data), along("context", p.cp, seat_.context);
  along("tensor", p.tp, seat_.tensor), along("experts", p.ep, placement_.mesh().expert_seat(rank()));
  return seat.empty() ? fmt::format("rank {}", rank()) : fmt::format("rank {} ({})", rank(), seat);
}

RankPlace::Work RankPlace::deal(const std::vector<MicroBatch>& global, int64_t n_own) const {
  const int64_t dp = placement_.mesh().sizes().dp;
  Work work;
  for (int64_t i = 0; i < n_own; ++i) {
    const int64_t j = seat_.data + i * dp;
    const bool filler = j >= int64_t(global.size());
    work.batches.push_back(filler ? MicroBatch() : global[size_t(j)]);
    work.numbers.push_back(filler ? -1 : j);
  }
  return work;
}

namespace {
int64_t of_each(int64_t n, int64_t n_data_ranks) { return (n + n_data_ranks - 1) / n_data_ranks; }
}  // namespace

RankPlace::Work RankPlace::training_work(const std::vector<MicroBatch>& global) const {
  const Pipeline pipeline = placement_.pipeline(of_each(int64_t(global.size()), placement_.mesh().sizes().dp));
  Work work = deal(global, pipeline.n_micro_batches);
  work.actions = make_plan(pipeline).ranks[size_t(seat_.pipeline)];
  return work;
}

RankPlace::Work RankPlace::forward_work(const std::vector<MicroBatch>& global) const {
  Pipeline pipeline = placement_.pipeline(1);
  pipeline.n_micro_batches = of_each(int64_t(global.size()), placement_.mesh().sizes().dp);
  Work work = deal(global, pipeline.n_micro_batches);
  work.actions = forward_list(pipeline, seat_.pipeline);
  return work;
}

std::vector<std::string> RankPlace::notes(const Config& config, int64_t next_step) const {
  std::vector<std::string> notes;
  if (placement_.mesh().n_ranks() > 1) notes.push_back(mesh_text(config.model, placement_));
  const int64_t dp = placement_.mesh().sizes().dp, each = std::max<int64_t>(1, config.train.micro_batch_sequences);
  const int64_t n = of_each(batch_sequences(config.train, next_step), each);
  const int64_t on_each = micro_batches_each(config, batch_sequences(config.train, next_step));
  const int64_t fillers = placement_.pipeline(on_each).n_micro_batches * dp - n;
  if (placement_.mesh().n_ranks() > 1 && fillers > 0)
    notes.push_back(
        fmt::format("a step of {} micro-batches is filled up with {} of no rows, which cost no more than "
                    "their messages: {} data ranks and the schedule take {} next",
                    n, fillers, dp, n + fillers));
  if (!holds_whole_model() && config.validation.samples > 0)
    notes.push_back("no samples are written on the way: no rank holds the whole model");
  return notes;
}

}  // namespace hadal

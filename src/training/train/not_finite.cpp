#include "train/not_finite.h"

#include <fmt/format.h>

#include <limits>
#include <map>
#include <numeric>
#include <tuple>

#include "comm/byte_text.h"
#include "model/flight.h"
#include "ops/pointwise.h"

namespace hadal {

namespace {

std::string weight_not_finite(const Exec& exec, const Transformer& model) {
  for (const Parameter* parameter : model.parameters()) {
    const Tensor& value = parameter->value.plain;  // narrow, it may be infinite where the master is not
    if (value && !ops::all_finite(exec, value)) return parameter->spec.name + " holds NaN or Inf";
  }
  return "";
}

// What a forward shows, and where it stands in the order in which one rank computes: micro-batch of the global batch,
// stage of the model, number among what that stage shows.
struct Output {
  int64_t micro_batch = std::numeric_limits<int64_t>::max(), stage = 0, number = 0;
  std::string name;  // empty: none
  bool operator<(const Output& other) const {
    return std::tie(micro_batch, stage, number) < std::tie(other.micro_batch, other.stage, other.number);
  }
  template <class Self, class Visitor>
  static void visit(Self& self, Visitor& v) {
    v(self.micro_batch), v(self.stage), v(self.number), v(self.name);
  }
};

RankPlace::Work forward_work(const std::vector<MicroBatch>& global, const RankPlace* place) {
  if (place) return place->forward_work(global);
  RankPlace::Work work{global, std::vector<int64_t>(global.size()), forward_only(int64_t(global.size()))};
  std::iota(work.numbers.begin(), work.numbers.end(), 0);
  return work;
}

// The first of those that this rank computes.
Output output_not_finite(const Exec& exec, const Transformer& model, const std::vector<MicroBatch>& global,
                         const RankPlace* place) {
  const RankPlace::Work work = forward_work(global, place);
  std::map<std::pair<int64_t, int64_t>, int64_t> shown;  // by micro-batch and stage
  Output first;
  model.forward(exec, work.batches, work.actions, [&](const Flight& flight, const std::string& name, const Tensor& x) {
    const int64_t micro_batch = work.numbers[size_t(flight.micro_batch)];
    const Output here{micro_batch, flight.stage, shown[{micro_batch, flight.stage}]++, name};
    if (here < first && x.dtype() != DType::i32 && x.count() > 0 && !ops::all_finite(exec, x)) first = here;
  });
  return first;
}

std::vector<std::string> of_all_ranks(const std::string& own, RankPlace* place) {
  return place ? place->world().exchange(own) : std::vector{own};
}

std::string on_rank(size_t rank, size_t n_ranks) { return n_ranks > 1 ? fmt::format(" on rank {}", rank) : ""; }

}  // namespace

std::string where_not_finite(const Exec& exec, const Transformer& model, const std::vector<MicroBatch>& global,
                             RankPlace* place) {
  const std::vector<std::string> weights = of_all_ranks(weight_not_finite(exec, model), place);
  for (size_t rank = 0; rank < weights.size(); ++rank)
    if (!weights[rank].empty()) return weights[rank] + on_rank(rank, weights.size());
  ByteWriter writer;
  Output first = output_not_finite(exec, model, global, place);
  Output::visit(first, writer);
  const std::vector<std::string> outputs = of_all_ranks(writer.text, place);
  first = {};
  size_t whose = 0;
  for (size_t rank = 0; rank < outputs.size(); ++rank) {
    Output one;
    ByteReader reader(outputs[rank]);
    Output::visit(one, reader);
    if (one < first) first = one, whose = rank;
  }
  if (first.name.empty()) return "";
  return first.name + " is the first that is not finite" + on_rank(whose, outputs.size());
}

}  // namespace hadal

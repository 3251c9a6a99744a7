#include "train/not_finite.h"

#include <fmt/format.h>

#include <limits>
#include <map>
#include <numeric>
#include <tuple>

#include "comm/byte_text.h"
#include "model/flight.h"
#include "nn/linear.h"
#include "nn/product_watch.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

// The first linear that reads, or makes of finite operands, what is not finite; each product is made once more.
class FirstLinear : public ProductWatch {
 public:
  struct Found {
    int64_t number = kNone;  // among the products since the last call of take()
    std::string text;        // empty: none
  };
  void product(const Exec& watched, const ProductSeen& seen) override {
    if (seen.product != Product::fprop) return;
    const ParameterKind kind = seen.weight->spec.kind;
    Found& found = kind == ParameterKind::head || kind == ParameterKind::embedding ? of_head_ : found_;
    const int64_t number = n_products_++;
    if (!found.text.empty()) return;
    const Exec exec = with_watch(watched, nullptr);
    const int64_t rows = rows_in_use(seen.offsets, seen.x.rows());  // behind them is anything
    if (rows == 0) return;
    const auto finite = [&](const Tensor& tensor) { return ops::all_finite(exec, tensor.row_range(0, rows)); };
    const bool reads = !finite(ops::dequantise(exec, seen.x));
    if (!reads && finite(result(exec, seen))) return;
    found = {number, fmt::format("{} is the first linear whose {} is not finite", seen.weight->spec.name,
                                 reads ? "input" : "output")};
  }
  Found take() {
    n_products_ = 0;
    return std::exchange(found_, {});
  }
  const Found& of_head() const { return of_head_; }  // behind which nothing is shown

 private:
  static Tensor result(const Exec& exec, const ProductSeen& seen) {
    const Shape& shape = seen.weight->box.size;
    const Tensor y = Tensor::empty(exec, seen.x.dtype(), {seen.x.rows(), shape[shape.size() - 2]});
    if (seen.offsets) {
      GroupedLinear{seen.weight, seen.recipe}.forward(exec, y, seen.x, seen.offsets);
    } else {
      Linear{seen.weight, seen.recipe}.forward(exec, y, seen.x);
    }
    return y;
  }
  Found found_, of_head_;
  int64_t n_products_ = 0;
};

std::string weight_not_finite(const Exec& exec, const Transformer& model) {
  for (const Parameter* parameter : model.parameters()) {
    const Tensor& value = parameter->value.plain;  // narrow, it may be infinite where the master is not
    if (value && !ops::all_finite(exec, value)) return parameter->spec.name + " holds NaN or Inf";
  }
  return "";
}

// What a forward shows, and where it stands: stage of the model, number among what that stage shows, of what led there
// the linear, and micro-batch of the global batch. The layer counts first: what is not finite in one rank's tokens goes
// to other ranks' experts, whose micro-batch may be an earlier one.
struct Output {
  int64_t stage = kNone, number = 0, linear = 0, micro_batch = 0;
  std::string text;  // empty: none
  bool operator<(const Output& other) const {
    return std::tie(stage, number, linear, micro_batch) <
           std::tie(other.stage, other.number, other.linear, other.micro_batch);
  }
  template <class Self, class Visitor>
  static void visit(Self& self, Visitor& v) {
    v(self.stage), v(self.number), v(self.linear), v(self.micro_batch), v(self.text);
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
  FirstLinear linears;
  Output first;
  model.forward(with_watch(exec, &linears), work.batches, work.actions,
                [&](const Flight& flight, const std::string& name, const Tensor& x) {
                  const int64_t micro_batch = work.numbers[size_t(flight.micro_batch)];
                  const int64_t number = shown[{micro_batch, flight.stage}]++;
                  const FirstLinear::Found found = linears.take();
                  const bool finite = x.dtype() == DType::i32 || x.count() == 0 || ops::all_finite(exec, x);
                  Output here{flight.stage, number, found.number, micro_batch, found.text};
                  if (here.text.empty() && !finite) here.text = name + " is the first that is not finite";
                  if (!here.text.empty() && here < first) first = here;
                });
  if (first.text.empty() && !linears.of_head().text.empty()) first = {kNone - 1, 0, 0, 0, linears.of_head().text};
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
  return first.text.empty() ? "" : first.text + on_rank(whose, outputs.size());
}

}  // namespace hadal

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
    int64_t number = kNone;  // among the products of this rank
    std::string text;        // empty: none
  };
  void product(const Exec& watched, const ProductSeen& seen) override {
    if (seen.product != Product::fprop) return;
    const int64_t number = n_products_++;
    if (!found_.text.empty()) return;
    const Exec exec = with_watch(watched, nullptr);
    const int64_t rows = rows_in_use(seen.offsets, seen.x.rows());  // behind them is anything
    if (rows == 0) return;
    const auto finite = [&](const Tensor& tensor) { return ops::all_finite(exec, tensor.row_range(0, rows)); };
    const bool reads = !finite(ops::dequantise(exec, seen.x));
    if (!reads && finite(result(exec, seen))) return;
    found_ = {number, fmt::format("{} is the first linear whose {} is not finite", seen.weight->spec.name,
                                  reads ? "input" : "output")};
  }
  Found take() { return std::exchange(found_, {}); }  // since the last call

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
  Found found_;
  int64_t n_products_ = 0;
};

std::string weight_not_finite(const Exec& exec, const Transformer& model) {
  for (const Parameter* parameter : model.parameters()) {
    const Tensor& value = parameter->value.plain;  // narrow, it may be infinite where the master is not
    if (value && !ops::all_finite(exec, value)) return parameter->spec.name + " holds NaN or Inf";
  }
  return "";
}

// What a forward shows, and where it stands in the order in which one rank computes: micro-batch of the global batch,
// stage of the model, number among what that stage shows, and of what led there the linear.
struct Output {
  int64_t micro_batch = kNone, stage = 0, number = 0, linear = 0;
  std::string text;  // empty: none
  bool operator<(const Output& other) const {
    return std::tie(micro_batch, stage, number, linear) <
           std::tie(other.micro_batch, other.stage, other.number, other.linear);
  }
  template <class Self, class Visitor>
  static void visit(Self& self, Visitor& v) {
    v(self.micro_batch), v(self.stage), v(self.number), v(self.linear), v(self.text);
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
  Output first, last;
  const auto take = [&](const std::string& otherwise) {
    const FirstLinear::Found found = linears.take();
    last.linear = found.number, last.text = found.text.empty() ? otherwise : found.text;
    if (!last.text.empty() && last < first) first = last;
  };
  model.forward(with_watch(exec, &linears), work.batches, work.actions,
                [&](const Flight& flight, const std::string& name, const Tensor& x) {
                  const int64_t micro_batch = work.numbers[size_t(flight.micro_batch)];
                  last = {micro_batch, flight.stage, shown[{micro_batch, flight.stage}]++, 0, ""};
                  const bool finite = x.dtype() == DType::i32 || x.count() == 0 || ops::all_finite(exec, x);
                  take(finite ? "" : name + " is the first that is not finite");
                });
  ++last.number;
  take("");  // behind all that is shown
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

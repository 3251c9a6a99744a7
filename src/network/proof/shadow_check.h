// ShadowCheck: what FP8 does to the products of one layer, seen while it trains. It repeats each product of the layer
// that it watches twice, on the operands that the layer has (their values before they became codes): as the recipe says
// and with values, both with FP32 results, and says how far apart these are. Training is not touched.
// Where rows came from another rank as codes, their values are not here: what the codes stand for takes their place.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "nn/parameter.h"
#include "nn/product_watch.h"
#include "proof/operand_stats.h"

namespace hadal {

// Error of a product of two E4M3 operands: sqrt(2) * 2.65 %, whatever is summed.
inline constexpr double kExpectedProductError = 0.037;

struct ProductFinding : Squares {  // of the result against that of values
  std::string linear;              // name of its weight
  int64_t layer = 0;
  Product product = Product::fprop;
  OperandStats x, dy, weight;  // those that it multiplies; weight: of fprop alone
  bool as_received = false;    // an operand came as codes
};
const char* result_name(Product product);  // y, dx, dW

class ShadowCheck : public ProductWatch {
 public:
  static constexpr int64_t kEveryLayer = -1;
  // Of a layer of the model, in this micro-batch of a list of actions.
  explicit ShadowCheck(int64_t layer, int64_t micro_batch = 0) : layer_(layer), micro_batch_(micro_batch) {}

  void enter(int64_t layer, int64_t micro_batch, bool forward) override;
  void leave() override { on_ = false; }
  void coded(const Exec& exec, const Activation& from, const Activation& codes) override;
  void gathered(const Exec& exec, const Activation& from, const Activation& to, const Tensor& index) override;
  void product(const Exec& exec, const ProductSeen& seen) override;

  // In the order in which the products were first seen; what several ranks' rows of one expert make is one.
  const std::vector<ProductFinding>& findings() const { return findings_; }
  int64_t layer() const { return layer_; }
  double seconds() const { return seconds_; }  // that it took

 private:
  struct Origin {
    Activation codes;  // kept, so that no others come to lie there
    Tensor values, index;
    bool as_received = false;
  };
  struct Values {
    Tensor tensor;
    bool as_received = false;
  };
  void repeat(const Exec& exec, const ProductSeen& seen);
  Values values_of(const Exec& exec, const Activation& x) const;
  ProductFinding& finding_of(const ProductSeen& seen);

  int64_t layer_, micro_batch_;
  bool on_ = false, forward_ = false;
  double seconds_ = 0;
  std::map<const void*, Origin> origins_;  // by where codes lie
  std::vector<ProductFinding> findings_;
};

// The layers that hold products of codes, ascending.
std::vector<int64_t> layers_of_codes(const Parameters& parameters);

}  // namespace hadal

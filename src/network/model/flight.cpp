#include "model/flight.h"

#include <algorithm>

#include "nn/head_loss.h"

namespace hadal {
namespace {

Stream make_stream(const Exec& exec, const MicroBatch& batch) {
  Stream stream;
  stream.batch = batch;
  const int64_t n = batch.n_tokens();
  stream.tokens = Tensor::from(exec, batch.tokens, {n});
  stream.positions = Tensor::from(exec, batch.positions, {n});
  stream.targets = Tensor::from(exec, batch.targets, {n});
  stream.n_targets = std::count_if(batch.targets.begin(), batch.targets.end(), [](int32_t t) { return t >= 0; });
  return stream;
}

}  // namespace

Flight::Flight(const Exec& exec, const MicroBatch& batch, const FlightSizes& sizes)
    : blocks(size_t(sizes.n_blocks)), routed(size_t(sizes.n_moe)), n_experts(sizes.n_experts) {
  streams.push_back(make_stream(exec, batch));
  for (int64_t depth = 1; depth <= sizes.n_mtp; ++depth) {
    const MtpRows at = mtp_rows(batch, depth);
    streams.push_back(make_stream(exec, at.batch));
    streams.back().rows_in = Tensor::from(exec, at.rows_in, {int64_t(at.rows_in.size())});
  }
}

Rows Flight::rows(int64_t stream, int64_t block) {
  const Stream& s = streams[size_t(stream)];
  Rows rows;
  rows.positions = s.positions;
  rows.segments = &s.batch.segments;
  rows.sequences = s.batch.sequences;
  if (cache) rows.cache = &cache->layers[size_t(block)], rows.cached = cache->length;
  return rows;
}

LossSums Flight::sums() const {
  LossSums sums;
  for (size_t k = 0; k < streams.size(); ++k) {
    const Stream& stream = streams[k];
    const double loss = stream.losses ? sum_of_losses(stream.losses) : 0.0;
    const int64_t count = stream.losses ? stream.n_targets : 0;
    if (k == 0) {
      sums.main = loss, sums.main_count = count;
    } else {
      sums.mtp.push_back(loss), sums.mtp_count.push_back(count);
    }
  }
  const bool record = routes && !routes->replay;
  if (record) routes->experts.resize(routed.size());  // other stages fill what is theirs
  for (size_t l = 0; l < routed.size(); ++l) {
    const RoutedLayer& layer = routed[l];
    std::vector<int64_t> load(size_t(n_experts), 0);
    for (size_t e = 0; layer.offsets && e < load.size(); ++e)
      load[e] = layer.offsets.data<int32_t>()[e + 1] - layer.offsets.data<int32_t>()[e];
    sums.expert_load.push_back(std::move(load));
    sums.balance += layer.balance_loss;
    if (record && layer.experts) {
      const int32_t* experts = layer.experts.data<int32_t>();
      routes->experts[l].assign(experts, experts + layer.experts.count());
    }
    if (sums.fault || (layer.found.token < 0 && layer.found.bias_expert < 0)) continue;
    sums.fault = {layer.layer, layer.found.token, layer.found.first_logit, layer.found.bias_expert};
  }
  return sums;
}

}  // namespace hadal

#include "model/flight.h"

#include <algorithm>

#include "base/error.h"
#include "nn/head_loss.h"

namespace hadal {
namespace {

// Of rows with these targets and weights those that have a target.
Stream::Scored scored_of(const Exec& exec, const std::vector<int32_t>& targets, const std::vector<float>& weights) {
  std::vector<int32_t> rows, of_rows;
  Stream::Scored scored;
  for (size_t row = 0; row < targets.size(); ++row) {
    if (targets[row] < 0) continue;
    rows.push_back(int32_t(row)), of_rows.push_back(targets[row]);
    if (!weights.empty()) scored.weights.push_back(weights[row]);
  }
  const int64_t n = int64_t(rows.size());
  scored.targets = Tensor::from(exec, of_rows, {n});
  if (rows.size() < targets.size()) scored.rows = Tensor::from(exec, rows, {n});
  return scored;
}

Stream make_stream(const Exec& exec, const MicroBatch& whole, RowSplit split) {
  Stream stream;
  const bool cut = split.cut();
  stream.batch = cut ? split.own_part(whole) : whole;
  stream.split = std::move(split);
  const MicroBatch& batch = stream.batch;
  const int64_t n = batch.n_tokens();
  stream.tokens = Tensor::from(exec, batch.tokens, {n});
  stream.positions = Tensor::from(exec, batch.positions, {n});
  stream.n_targets = std::count_if(batch.targets.begin(), batch.targets.end(), [](int32_t t) { return t >= 0; });
  stream.scored = scored_of(exec, batch.targets, batch.weights);
  if (!cut) return stream;
  const auto of_queries = [&]<class T>(const std::vector<T>& all) {
    std::vector<T> values;
    for (const int32_t row : stream.split.queries()) values.push_back(all[size_t(row)]);
    return values;
  };
  const auto on_device = [&](const std::vector<int32_t>& values) {
    return Tensor::from(exec, values, {int64_t(values.size())});
  };
  stream.query_tokens = on_device(of_queries(whole.tokens));
  stream.query_positions = on_device(of_queries(whole.positions));
  stream.scored_queries = scored_of(exec, of_queries(whole.targets),
                                    whole.weights.empty() ? std::vector<float>() : of_queries(whole.weights));
  stream.key_positions = Tensor::from(exec, whole.positions, {whole.n_tokens()});
  stream.query_rows = Tensor::from(exec, stream.split.queries(), {stream.split.n_queries()});
  for (const ops::RowRange& sequence : whole.sequences) stream.lengths.push_back(sequence.count);
  return stream;
}

std::vector<ExactSum> losses_by_domain(const Tensor& losses, const MicroBatch& batch) {
  std::vector<ExactSum> sums;
  for (size_t row = 0; row < batch.domains.size(); ++row) {
    if (batch.targets[row] < 0) continue;
    const size_t domain = size_t(batch.domains[row]);
    if (sums.size() <= domain) sums.resize(domain + 1);
    const double loss = element(losses, int64_t(row));
    sums[domain].add(batch.weights.empty() ? loss : double(batch.weights[row]) * loss);
  }
  return sums;
}

// Of one micro-batch's rows the experts of this rank's own, [own, k], put among those of all.
void record_routes(const Tensor& experts, const RowSplit& split, std::vector<int32_t>& recorded) {
  const int32_t* of_own = experts.data<int32_t>();
  if (!split.cut()) return recorded.assign(of_own, of_own + experts.count());
  const int64_t k = experts.cols();
  recorded.assign(size_t(split.n_keys() * k), -1);
  for (int64_t i = 0; i < split.n_own(); ++i)
    std::copy_n(of_own + i * k, k, recorded.begin() + split.own()[size_t(i)] * k);
}

}  // namespace

Flight::Flight(const Exec& exec, const MicroBatch& batch, const FlightSizes& sizes, const Partners& partners)
    : blocks(size_t(sizes.n_blocks)), routed(size_t(sizes.n_moe)), n_experts(sizes.n_experts) {
  const bool shared = partners.tensor || partners.context;
  streams.push_back(make_stream(exec, batch, shared ? RowSplit(batch, partners) : RowSplit()));
  for (int64_t depth = 1; depth <= sizes.n_mtp; ++depth) {
    const MtpRows at = mtp_rows(batch, depth);
    const RowSplit& before = streams.back().split;
    RowSplit split = before.cut() ? before.next(at.batch, at.rows_in) : RowSplit();
    const std::vector<int32_t> rows_in = split.cut() ? split.own_rows_in(before, at.rows_in) : at.rows_in;
    streams.push_back(make_stream(exec, at.batch, std::move(split)));
    streams.back().rows_in = Tensor::from(exec, rows_in, {int64_t(rows_in.size())});
  }
}

const RowSplit* tensor_split(const Parameter& weight, const Stream& stream) {
  if (!tensor_ranks_cut(weight)) return nullptr;
  check(stream.split.tensor_cut(), ErrorKind::internal,
        "this rank holds {} of {} rows of {}, and the micro-batch is not shared over tensor ranks", weight.box.size[0],
        weight.spec.shape[0], weight.spec.name);
  return &stream.split;
}

Rows Flight::rows(int64_t stream, int64_t block) {
  const Stream& s = streams[size_t(stream)];
  Rows rows;
  rows.positions = s.positions;
  rows.segments = &s.batch.segments;
  rows.sequences = s.batch.sequences;
  if (s.split.cut()) {
    rows.split = &s.split;
    rows.segments = &s.split.segments();
    rows.query_positions = s.query_positions, rows.key_positions = s.key_positions, rows.query_rows = s.query_rows;
    rows.lengths = s.lengths;
  }
  if (cache.cache) {
    rows.cache = &cache.cache->layers[size_t(block)];
    rows.cache_rows = cache.rows, rows.cache_blocks = cache.blocks;
  }
  return rows;
}

// The mailbox: what the host reads of a flight, brought from a device with one wait.
Flight::Seen Flight::bring_home(bool record) const {
  std::vector<Tensor> all;
  for (const Stream& stream : streams) all.push_back(stream.losses);
  for (const RoutedLayer& layer : routed)
    all.insert(all.end(), {layer.offsets, layer.balance_losses, layer.found, record ? layer.experts : Tensor()});
  all = host_copies(all);
  Seen seen;
  size_t next = 0;
  for (size_t k = 0; k < streams.size(); ++k) seen.losses.push_back(all[next++]);
  for (RoutedLayer layer : routed) {
    for (Tensor* tensor : {&layer.offsets, &layer.balance_losses, &layer.found, &layer.experts}) *tensor = all[next++];
    seen.routed.push_back(std::move(layer));
  }
  return seen;
}

LossSums Flight::sums() const {
  LossSums sums;
  const bool record = routes && !routes->replay;
  const Seen seen = bring_home(record);
  for (size_t k = 0; k < streams.size(); ++k) {
    const Tensor& losses = seen.losses[k];
    const double loss = losses ? sum_of_losses(losses, streams[k].batch.weights) : 0.0;
    const int64_t count = losses ? streams[k].n_targets : 0;
    if (k == 0) {
      sums.main = loss, sums.main_count = count;
      if (losses) sums.domains = losses_by_domain(losses, streams[k].batch);
    } else {
      sums.mtp.push_back(loss), sums.mtp_count.push_back(count);
    }
  }
  if (record) routes->experts.resize(routed.size());  // other stages fill what is theirs
  for (size_t l = 0; l < routed.size(); ++l) {
    const RoutedLayer& layer = seen.routed[l];
    std::vector<int64_t> load(size_t(n_experts), 0);
    for (size_t e = 0; layer.offsets && e < load.size(); ++e)
      load[e] = layer.offsets.data<int32_t>()[e + 1] - layer.offsets.data<int32_t>()[e];
    sums.expert_load.push_back(std::move(load));
    if (layer.balance_losses) sums.balance += sum_of_losses(layer.balance_losses);
    const RowSplit& split = streams[size_t(layer.stream)].split;
    if (record && layer.experts) record_routes(layer.experts, split, routes->experts[l]);
    if (sums.fault || !layer.found) continue;
    const ops::RouteFindings found = ops::findings(layer.found);
    if (found.token < 0 && found.bias_expert < 0) continue;
    const int64_t token = found.token;
    sums.fault = {layer.layer, token >= 0 && split.cut() ? split.own()[size_t(token)] : token, found.first_logit,
                  found.bias_expert};
  }
  return sums;
}

}  // namespace hadal

#include "model/expert_hop.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/error.h"

namespace hadal {
namespace {

// What a parcel holds of every block, kind by kind and not block by block, so that numbers of one size lie together.
struct Content {
  std::vector<Tensor> numbers;
  std::vector<Activation> rows;
  std::vector<Tensor> lists;  // i32
};
struct ContentSizes {
  std::vector<int64_t> numbers, rows, lists;  // by block
};

Content walk(Parcel& parcel, const ContentSizes& sizes, std::optional<DType> numbers, const RowFormat& format) {
  Content content;
  for (const int64_t n : sizes.numbers)
    if (numbers) content.numbers.push_back(parcel.next(*numbers, {n}));
  const auto rows = [&] {
    for (const int64_t n : sizes.rows) content.rows.push_back(format.next(parcel, n));
  };
  if (!format.codes) rows();
  for (const int64_t n : sizes.lists) content.lists.push_back(parcel.next(DType::i32, {n}));
  if (format.codes) rows();  // bytes last: nothing behind them is to be aligned
  return content;
}

Tensor walk_header(Parcel& parcel, int64_t n_blocks) { return parcel.next(DType::i64, {n_blocks, 2}); }

template <class T>
void pick_as(const Tensor& to, const Tensor& from, const std::vector<int32_t>& index) {
  T* out = to.data<T>();
  const T* in = from.data<T>();
  for (size_t i = 0; i < index.size(); ++i) out[i] = in[index[i]];
}
void pick(const Tensor& to, const Tensor& from, const std::vector<int32_t>& index) {
  to.dtype() == DType::f64 ? pick_as<double>(to, from, index) : pick_as<float>(to, from, index);
}
template <class T>
void place_as(const Tensor& to, const Tensor& from, const std::vector<int32_t>& index) {
  T* out = to.data<T>();
  const T* in = from.data<T>();
  for (size_t i = 0; i < index.size(); ++i) out[index[i]] = in[i];
}
void place(const Tensor& to, const Tensor& from, const std::vector<int32_t>& index) {
  to.dtype() == DType::f64 ? place_as<double>(to, from, index) : place_as<float>(to, from, index);
}

Parcel pack_numbers(DType dtype, std::span<const RowsBack> back, const ContentSizes& sizes) {
  Parcel measure;
  walk(measure, sizes, dtype, {});
  Parcel parcel(measure.bytes());
  const Content content = walk(parcel, sizes, dtype, {});
  for (size_t b = 0; b < back.size(); ++b)
    if (back[b].numbers.count() > 0)
      std::memcpy(content.numbers[b].raw(), back[b].numbers.raw(), size_t(back[b].numbers.bytes()));
  return parcel;
}

void put(const Tensor& to, const std::vector<int32_t>& values) {
  if (!values.empty()) std::memcpy(to.raw(), values.data(), values.size() * sizeof(int32_t));
}
std::vector<int32_t> list_of(const Tensor& tensor) {
  return {tensor.data<int32_t>(), tensor.data<int32_t>() + tensor.count()};
}

}  // namespace

std::vector<int32_t> expert_runs(const TokenBlock& block, int64_t experts_per_group) {
  std::vector<int32_t> bounds;
  bounds.reserve(size_t(block.n_pairs()) + 1);
  for (int64_t t = 0; t < block.n_tokens(); ++t) {
    const int32_t first = block.begin[size_t(t)];
    for (int32_t p = first; p < block.begin[size_t(t) + 1]; ++p) {
      const auto group = [&](int32_t pair) { return block.experts[size_t(pair)] / experts_per_group; };
      if (p == first || group(p) != group(p - 1)) bounds.push_back(p);
    }
  }
  bounds.push_back(int32_t(block.n_pairs()));
  return bounds;
}

ExpertHop::ExpertHop(Group& group, std::vector<int32_t> member_of, int64_t experts_per_group,
                     std::vector<int32_t> slot_of)
    : group_(group),
      member_of_(std::move(member_of)),
      slot_of_(std::move(slot_of)),
      experts_per_group_(experts_per_group) {
  check(slot_of_.empty() || experts_per_group == 1, ErrorKind::internal,
        "rows of groups of {} experts have no slot of one expert", experts_per_group);
}

// By member, what of a block goes there.
std::vector<ExpertHop::Sent> ExpertHop::choose(const TokenBlock& block) const {
  std::vector<Sent> of(static_cast<size_t>(group_.size()));
  for (int64_t t = 0; t < block.n_tokens(); ++t) {
    for (int32_t p = block.begin[size_t(t)]; p < block.begin[size_t(t) + 1]; ++p) {
      Sent& sent = of[size_t(member_of_[size_t(block.experts[size_t(p)])])];
      if (sent.tokens.empty() || sent.tokens.back() != t) sent.tokens.push_back(int32_t(t)), sent.counts.push_back(0);
      sent.pairs.push_back(p);
      ++sent.counts.back();
    }
  }
  const std::vector<int32_t> runs = expert_runs(block, experts_per_group_);
  for (size_t r = 0; r + 1 < runs.size(); ++r)
    of[size_t(member_of_[size_t(block.experts[size_t(runs[r])])])].runs.push_back(int32_t(r));
  if (slot_of_.empty()) return of;
  const auto slot = [&](int32_t run) { return slot_of_[size_t(block.experts[size_t(run)])]; };  // a run is a pair
  for (Sent& sent : of)
    std::stable_sort(sent.runs.begin(), sent.runs.end(), [&](int32_t a, int32_t b) { return slot(a) < slot(b); });
  return of;
}

Parcel ExpertHop::pack(const Exec& exec, const std::vector<TokenBlock>& blocks, size_t member) const {
  const std::vector<Sent>& sent = sent_[member];
  ContentSizes sizes;
  for (const Sent& one : sent) {
    sizes.numbers.push_back(int64_t(one.pairs.size()));
    sizes.rows.push_back(int64_t(one.tokens.size()));
    sizes.lists.insert(sizes.lists.end(), {int64_t(one.counts.size()), int64_t(one.pairs.size())});
  }
  Parcel measure;
  walk_header(measure, int64_t(sent.size()));
  walk(measure, sizes, numbers_, format_);
  Parcel parcel(measure.bytes());
  const Tensor header = walk_header(parcel, int64_t(sent.size()));
  const Content content = walk(parcel, sizes, numbers_, format_);
  for (size_t b = 0; b < sent.size(); ++b) {
    header.data<int64_t>()[2 * b] = sizes.rows[b];
    header.data<int64_t>()[2 * b + 1] = sizes.numbers[b];
    pick(content.numbers[b], blocks[b].weights, sent[b].pairs);
    copy_rows(exec, content.rows[b], blocks[b].rows, sent[b].tokens.data());
    put(content.lists[2 * b], sent[b].counts);
    std::vector<int32_t> experts;
    for (const int32_t pair : sent[b].pairs) experts.push_back(blocks[b].experts[size_t(pair)]);
    put(content.lists[2 * b + 1], experts);
  }
  return parcel;
}

void ExpertHop::send(const Exec& exec, const std::vector<TokenBlock>& blocks) {
  sent_.assign(size_t(group_.size()), {});
  n_pairs_.clear();
  for (const TokenBlock& block : blocks) {
    std::vector<Sent> of = choose(block);
    for (size_t r = 0; r < of.size(); ++r) sent_[r].push_back(std::move(of[r]));
    n_pairs_.push_back(block.n_pairs());
  }
  format_ = RowFormat::of(blocks[0].rows);
  numbers_ = blocks[0].weights.dtype();
  std::vector<Parcel> parcels;
  for (size_t r = 0; r < sent_.size(); ++r) parcels.push_back(pack(exec, blocks, r));
  exchange_.start(group_, std::move(parcels));
}

std::vector<TokenBlock> ExpertHop::unpack(const Exec& exec, Parcel parcel) {
  const size_t n_blocks = n_pairs_.size();
  const Tensor header = walk_header(parcel, int64_t(n_blocks));
  ContentSizes sizes;
  for (size_t b = 0; b < n_blocks; ++b) {
    const int64_t tokens = header.data<int64_t>()[2 * b], pairs = header.data<int64_t>()[2 * b + 1];
    sizes.rows.push_back(tokens), sizes.numbers.push_back(pairs);
    sizes.lists.insert(sizes.lists.end(), {tokens, pairs});
  }
  Content content = walk(parcel, sizes, numbers_, format_);
  parcel.check_end();
  std::vector<TokenBlock> blocks(n_blocks);
  came_.emplace_back();
  for (size_t b = 0; b < n_blocks; ++b) {
    TokenBlock& block = blocks[b];
    block.rows = content.rows[b];
    block.weights = content.numbers[b].clone(exec);  // stays when the message goes
    block.begin = {0};
    for (const int32_t count : list_of(content.lists[2 * b])) block.begin.push_back(block.begin.back() + count);
    block.experts = list_of(content.lists[2 * b + 1]);
    check(block.begin.back() == block.n_pairs(), ErrorKind::internal, "{} experts are named for tokens that visit {}",
          block.n_pairs(), block.begin.back());
    for (const int32_t expert : block.experts)
      check(expert >= 0 && size_t(expert) < member_of_.size() && member_of_[size_t(expert)] == group_.rank(),
            ErrorKind::internal, "a token came to member {} of {} for expert {}, which is not there", group_.rank(),
            group_.name(), expert);
    came_.back().push_back(
        {block.n_tokens(), block.n_pairs(), int64_t(expert_runs(block, experts_per_group_).size()) - 1});
  }
  return blocks;
}

std::vector<TokenBlock> ExpertHop::receive(const Exec& exec) {
  came_.clear();
  std::vector<TokenBlock> all;
  for (Parcel& parcel : exchange_.wait())
    for (TokenBlock& block : unpack(exec, std::move(parcel))) all.push_back(std::move(block));
  return all;
}

void ExpertHop::send_rows(const Exec& exec, const std::vector<Activation>& rows) {
  format_ = RowFormat::of(rows[0]);
  std::vector<Parcel> parcels;
  for (const std::vector<Sent>& sent : sent_) {
    ContentSizes sizes;
    for (const Sent& one : sent) sizes.rows.push_back(int64_t(one.tokens.size()));
    Parcel measure;
    walk(measure, sizes, {}, format_);
    parcels.emplace_back(measure.bytes());
    const Content content = walk(parcels.back(), sizes, {}, format_);
    for (size_t b = 0; b < sent.size(); ++b) copy_rows(exec, content.rows[b], rows[b], sent[b].tokens.data());
  }
  exchange_.start(group_, std::move(parcels));
}

std::vector<Activation> ExpertHop::receive_rows() {
  std::vector<Parcel> parcels = exchange_.wait();
  std::vector<Activation> all;
  for (size_t r = 0; r < parcels.size(); ++r) {
    ContentSizes sizes;
    for (const Sizes& came : came_[r]) sizes.rows.push_back(came.tokens);
    for (Activation& rows : walk(parcels[r], sizes, {}, format_).rows) all.push_back(std::move(rows));
    parcels[r].check_end();
  }
  return all;
}

void ExpertHop::send_back(const Exec& exec, std::vector<RowsBack> back) {
  format_ = RowFormat::of(back[0].rows);
  numbers_ = back[0].numbers ? std::optional(back[0].numbers.dtype()) : std::nullopt;
  std::vector<Parcel> parcels, of_numbers;
  auto block = back.begin();
  for (const std::vector<Sizes>& came : came_) {
    ContentSizes rows, numbers;
    for (const Sizes& one : came) rows.rows.push_back(one.runs), numbers.numbers.push_back(one.pairs);
    const std::span<RowsBack> due(block, block + int64_t(came.size()));
    block += int64_t(came.size());
    if (numbers_) of_numbers.push_back(pack_numbers(*numbers_, due, numbers));
    for (size_t b = 0; b < due.size(); ++b)
      check(due[b].rows.rows() == came[b].runs, ErrorKind::internal, "{} rows go back for {} that are due",
            due[b].rows.rows(), came[b].runs);
    if (due.size() == 1 && Parcel::may_hold(due[0].rows)) {  // as they lie
      parcels.emplace_back(std::exchange(due[0].rows, {}));
      continue;
    }
    Parcel measure;
    walk(measure, rows, {}, format_);
    parcels.emplace_back(measure.bytes());
    const Content content = walk(parcels.back(), rows, {}, format_);
    for (size_t b = 0; b < due.size(); ++b)
      content.rows[b].tensor().copy_from(exec, std::exchange(due[b].rows, {}));  // goes when it is packed
  }
  if (numbers_) numbers_exchange_.start(group_, std::move(of_numbers));
  exchange_.start(group_, std::move(parcels));
}

std::vector<RowsThatCame> ExpertHop::receive_back(const Exec& exec) {
  std::vector<Parcel> parcels = exchange_.wait(), of_numbers;
  if (numbers_) of_numbers = numbers_exchange_.wait();
  std::vector<RowsThatCame> back(n_pairs_.size());
  if (numbers_)
    for (size_t b = 0; b < back.size(); ++b) back[b].numbers = Tensor::empty(exec, *numbers_, {n_pairs_[b]});
  for (RowsThatCame& came : back) came.rows.reserve(parcels.size());
  for (size_t r = 0; r < parcels.size(); ++r) {
    ContentSizes rows, numbers;
    for (const Sent& sent : sent_[r])
      rows.rows.push_back(int64_t(sent.runs.size())), numbers.numbers.push_back(int64_t(sent.pairs.size()));
    const Content content = walk(parcels[r], rows, {}, format_);
    parcels[r].check_end();
    for (size_t b = 0; b < back.size(); ++b) back[b].rows.push_back(content.rows[b].tensor());
    if (!numbers_) continue;
    const Content beside = walk(of_numbers[r], numbers, numbers_, {});
    of_numbers[r].check_end();
    for (size_t b = 0; b < back.size(); ++b) place(back[b].numbers, beside.numbers[b], sent_[r][b].pairs);
  }
  for (size_t b = 0; b < back.size(); ++b) {
    size_t n_runs = 0;
    for (const std::vector<Sent>& sent : sent_) n_runs += sent[b].runs.size();
    back[b].places.resize(2 * n_runs);
    for (size_t r = 0; r < sent_.size(); ++r) {
      int32_t row = 0;
      for (const int32_t run : sent_[r][b].runs)
        back[b].places[2 * size_t(run)] = int32_t(r), back[b].places[2 * size_t(run) + 1] = row++;
    }
  }
  return back;
}

}  // namespace hadal

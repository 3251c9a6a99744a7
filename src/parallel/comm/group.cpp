#include "comm/group.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/random.h"
#include "comm/rank_sum.h"

namespace hadal {
namespace {

// A copy of what lies apart, or of what somebody may write to: all but one piece of memory that is used up.
std::shared_ptr<std::byte[]> message_of(const Share& share, int64_t bytes, const std::shared_ptr<void>& used_up) {
  if (used_up && share.size() == 1) return {used_up, share[0].data()};
  std::shared_ptr<std::byte[]> data = message_memory(bytes);
  size_t at = 0;
  for (const MutableBytes& piece : share) {
    if (!piece.empty()) std::memcpy(data.get() + at, piece.data(), piece.size());
    at += piece.size();
  }
  return data;
}

void deal_out(const Message& message, const Share& share) {
  size_t at = 0;
  for (const MutableBytes& piece : share) {
    if (!piece.empty()) std::memcpy(piece.data(), message.data.get() + at, piece.size());
    at += piece.size();
  }
}

MutableBytes bytes_of(std::string& text) { return std::as_writable_bytes(std::span(text)); }

}  // namespace

int64_t share_bytes(const Share& share) {
  int64_t bytes = 0;
  for (const MutableBytes& piece : share) bytes += int64_t(piece.size());
  return bytes;
}

Group::Group(std::shared_ptr<Transport> transport, const std::string& name, std::vector<int> members)
    : transport_(std::move(transport)), name_(name), members_(std::move(members)), channel_(stream_id(name)) {
  if (members_.empty()) {
    members_.resize(size_t(transport_->size()));
    std::iota(members_.begin(), members_.end(), 0);
  }
  const auto own = std::find(members_.begin(), members_.end(), transport_->rank());
  check(own != members_.end() && std::is_sorted(members_.begin(), members_.end()), ErrorKind::internal,
        "rank {} is not among the ranks of group {}, or these are out of order", transport_->rank(), name);
  rank_ = int(own - members_.begin());
  sent_.assign(members_.size(), 0);
  received_.assign(members_.size(), 0);
}

Group Group::self() { return Group(std::make_shared<SelfTransport>(), "self"); }

Label Group::next(const char* operation, DType dtype) {
  return {channel_, operations_++, fmt::format("{} of {}", operation, name_), dtype};
}

void Group::post(int to, const Label& label, const Share& share, const std::shared_ptr<void>& used_up) {
  const int64_t bytes = share_bytes(share);
  post(to, label, message_of(share, bytes, used_up), bytes);
}

void Group::post(int to, const Label& label, std::shared_ptr<std::byte[]> data, int64_t bytes) {
  traffic_.bytes += bytes, ++traffic_.messages;
  transport_->send(members_[size_t(to)], {label, std::move(data), bytes, now()});
}

void Group::post_to_all(const Label& label, const Share& share, const std::shared_ptr<void>& used_up) {
  const int64_t bytes = share_bytes(share);
  const std::shared_ptr<std::byte[]> data = message_of(share, bytes, used_up);
  for (int r = 0; r < size(); ++r)
    if (r != rank_) post(r, label, data, bytes);
}

// bytes: negative where any size will do.
Message Group::take(int from, const Label& label, int64_t bytes) {
  Label wanted = label;
  wanted.bytes = bytes;
  Message message = transport_->receive(members_[size_t(from)], wanted);
  check(message.label == label, ErrorKind::internal,
        "rank {} of {} does {} of {} while rank {} does {} of {}: ranks do different things", from, name_,
        message.label.operation, dtype_name(message.label.dtype), rank_, label.operation, dtype_name(label.dtype));
  check(bytes < 0 || message.bytes == bytes, ErrorKind::internal,
        "{}: {} bytes came from rank {}, rank {} waits for {}", label.operation, message.bytes, from, rank_, bytes);
  return message;
}

void Group::post_others(const Label& label, const std::vector<Share>& shares, const std::shared_ptr<void>& used_up) {
  for (int r = 0; r < size(); ++r)
    if (r != rank_) post(r, label, shares[size_t(r)], used_up);
}

void Group::add_up(const Label& label, const Share& own, const Share& to) {
  std::vector<Message> messages(static_cast<size_t>(size()));
  for (int r = 0; r < size(); ++r)
    if (r != rank_) messages[size_t(r)] = take(r, label, share_bytes(own));
  size_t at = 0;
  std::vector<const std::byte*> sources(messages.size());
  for (size_t i = 0; i < own.size(); ++i) {
    for (int r = 0; r < size(); ++r)
      sources[size_t(r)] = r == rank_ ? own[i].data() : messages[size_t(r)].data.get() + at;
    sum_in_rank_order(label.dtype, to[i], sources);
    at += own[i].size();
  }
}

void Group::fill_others(const Label& label, const std::vector<Share>& shares) {
  for (int r = 0; r < size(); ++r)
    if (r != rank_) deal_out(take(r, label, share_bytes(shares[size_t(r)])), shares[size_t(r)]);
}

void Group::check_shares(const char* operation, size_t n_parts) const {
  check(int(n_parts) == size(), ErrorKind::internal, "{} of {}: {} shares for {} ranks", operation, name_, n_parts,
        size());
}

Ticket Group::noted(const char* operation, std::function<double()> finish) {
  return Ticket([this, operation, finish = std::move(finish)] {
    Travel travel{.operation = operation, .asked = now()};
    travel.left = finish();
    travel.here = now();
    if (log_ && log_->now) log_->travels.push_back(travel);
  });
}

Ticket Group::leaving_now(const char* operation, std::function<void()> finish) {
  return noted(operation, [left = now(), finish = std::move(finish)] { return finish(), left; });
}

Ticket Group::start_reduce_scatter(DType dtype, std::vector<Share> shares, const std::shared_ptr<void>& used_up) {
  check_shares("reduce_scatter", shares.size());
  const Label label = next("reduce_scatter", dtype);
  if (size() == 1) return {};
  post_others(label, shares, used_up);
  return leaving_now("reduce_scatter",
                     [this, label, own = std::move(shares[size_t(rank_)])] { add_up(label, own, own); });
}

LeavingShares Group::begin_reduce_scatter(DType dtype, std::vector<Share> shares, const std::shared_ptr<void>& used_up,
                                          Share sums) {
  check_shares("reduce_scatter", shares.size());
  const Label label = next("reduce_scatter", dtype);
  if (size() == 1) return {};
  struct Leaving {
    std::vector<Share> shares;
    Share sums;
    std::optional<double> left;  // the first of them
  };
  const auto all = std::make_shared<Leaving>(std::move(shares), std::move(sums));
  const auto leave = [this, label, all, used_up](int r) {
    post(r, label, all->shares[size_t(r)], used_up);
    if (!all->left) all->left = now();
  };
  return {leave, noted("reduce_scatter", [this, label, all] {
            const Share& own = all->shares[size_t(rank_)];
            add_up(label, own, all->sums.empty() ? own : all->sums);
            return all->left.value_or(now());
          })};
}

std::vector<Ticket> Group::start_all_gather_by_rank(DType dtype, const std::vector<Share>& shares,
                                                    const std::shared_ptr<void>& used_up) {
  check_shares("all_gather", shares.size());
  const Label label = next("all_gather", dtype);
  post_to_all(label, shares[size_t(rank_)], used_up);
  std::vector<Ticket> tickets(shares.size());
  for (int r = 0; r < size(); ++r) {
    const Share share = shares[size_t(r)];
    if (r == rank_) continue;
    tickets[size_t(r)] = leaving_now("all_gather", [=, this] { deal_out(take(r, label, share_bytes(share)), share); });
  }
  return tickets;
}

Ticket Group::start_all_gather(DType dtype, std::vector<Share> shares) {
  check_shares("all_gather", shares.size());
  const Label label = next("all_gather", dtype);
  if (size() == 1) return {};
  post_to_all(label, shares[size_t(rank_)]);
  return leaving_now("all_gather", [this, label, shares = std::move(shares)] { fill_others(label, shares); });
}

Ticket Group::start_gather(int root, DType dtype, std::vector<Share> shares) {
  check_shares("gather", shares.size());
  const Label label = next("gather", dtype);
  if (rank_ != root) {
    post(root, label, shares[size_t(rank_)]);
    return {};
  }
  return leaving_now("gather", [this, label, shares = std::move(shares)] { fill_others(label, shares); });
}

Ticket Group::start_all_to_all(const std::vector<ConstBytes>& to, std::vector<Message>& received) {
  std::vector<Message> copies;
  for (const ConstBytes& bytes : to) {
    copies.push_back({{}, message_memory(int64_t(bytes.size())), int64_t(bytes.size())});
    if (!bytes.empty()) std::memcpy(copies.back().data.get(), bytes.data(), bytes.size());
  }
  return start_all_to_all(std::move(copies), received);
}

Ticket Group::start_all_to_all(std::vector<Message> to, std::vector<Message>& received) {
  check_shares("all_to_all", to.size());
  const Label label = next("all_to_all", DType::u8);
  received.clear();
  received.resize(to.size());
  for (int r = 0; r < size(); ++r)
    if (r != rank_) post(r, label, std::move(to[size_t(r)].data), to[size_t(r)].bytes);
  received[size_t(rank_)] = std::move(to[size_t(rank_)]);
  received[size_t(rank_)].label = label;
  return leaving_now("all_to_all", [this, label, &received] {
    for (int r = 0; r < size(); ++r)
      if (r != rank_) received[size_t(r)] = take(r, label, -1);
  });
}

Ticket Group::start_broadcast(int root, DType dtype, Share share) {
  const Label label = next("broadcast", dtype);
  if (rank_ != root)
    return leaving_now("broadcast",
                       [this, label, root, share] { deal_out(take(root, label, share_bytes(share)), share); });
  post_to_all(label, share);
  return {};
}

// Each rank adds up an even share, then all get the sums. Both halves have their numbers from the start.
Ticket Group::start_all_reduce(DType dtype, Share share) {
  if (size() == 1) return {};
  std::vector<Share> shares(static_cast<size_t>(size()));
  const int64_t each = dtype_bytes(dtype);
  for (const MutableBytes& piece : share) {
    const int64_t n = int64_t(piece.size()) / each;
    check(n * each == int64_t(piece.size()), ErrorKind::internal, "all_reduce of {}: {} bytes are not whole {}", name_,
          piece.size(), dtype_name(dtype));
    for (int r = 0; r < size(); ++r) {
      const int64_t begin = n * r / size(), end = n * (r + 1) / size();
      shares[size_t(r)].push_back(piece.subspan(size_t(begin * each), size_t((end - begin) * each)));
    }
  }
  const Label sum = next("all_reduce", dtype), copy = next("all_reduce's sums", dtype);
  post_others(sum, shares);
  return leaving_now("all_reduce", [this, sum, copy, shares = std::move(shares)] {
    add_up(sum, shares[size_t(rank_)], shares[size_t(rank_)]);
    post_to_all(copy, shares[size_t(rank_)]);
    fill_others(copy, shares);
  });
}

void Group::send(int to, DType dtype, const Share& share) {
  const int64_t number = sent_[size_t(to)]++;
  post(to, {stream_id(name_, 1), number, fmt::format("send in {}", name_), dtype}, share);
}

Ticket Group::start_receive(int from, DType dtype, Share share) {
  const Label label{stream_id(name_, 1), received_[size_t(from)]++, fmt::format("send in {}", name_), dtype};
  return noted("send", [this, label, from, share = std::move(share)] {
    const Message message = take(from, label, share_bytes(share));
    deal_out(message, share);
    return message.left;
  });
}

std::vector<std::string> Group::exchange(const std::string& own) {
  std::vector<Message> received;
  start_all_to_all(std::vector<ConstBytes>(size_t(size()), std::as_bytes(std::span(own))), received).wait();
  std::vector<std::string> texts;
  for (const Message& message : received)
    texts.emplace_back(reinterpret_cast<const char*>(message.data.get()), size_t(message.bytes));
  return texts;
}

std::string Group::tell(int root, const std::string& text) {
  const Label label = next("broadcast", DType::u8);
  if (rank_ == root) {
    std::string told = text;
    post_to_all(label, {bytes_of(told)});
    return told;
  }
  const Message message = take(root, label, -1);
  std::string told(size_t(message.bytes), '\0');
  if (message.bytes > 0) std::memcpy(bytes_of(told).data(), message.data.get(), size_t(message.bytes));
  return told;
}

void Group::barrier() { exchange(""); }

}  // namespace hadal

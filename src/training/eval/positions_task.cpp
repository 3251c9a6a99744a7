#include "eval/positions_task.h"

#include <algorithm>

#include "base/error.h"
#include "data/document_reader.h"

namespace hadal::eval {
namespace {

constexpr int64_t kFirst = 64;      // positions before it are about how texts begin
constexpr int64_t kMostBytes = 16;  // read for each token that is wanted
constexpr int64_t kTexts = 200;

struct Bucket {
  int64_t begin = 0, end = 0;
  std::string name() const { return fmt::format("bits_{}_{}", begin, end - 1); }
};

std::vector<Bucket> buckets_of(int64_t positions) {
  std::vector<Bucket> buckets;
  for (int64_t begin = kFirst; 2 * begin <= positions; begin *= 2) buckets.push_back({begin, 2 * begin});
  if (!buckets.empty() && buckets.back().end < positions && positions - buckets.back().end >= kFirst)
    buckets.push_back({buckets.back().end, positions});
  return buckets;
}

// From one character's beginning to another's.
std::string cut_text(const std::string& text, size_t begin, size_t bytes) {
  const auto inside = [&](size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  while (inside(begin)) ++begin;
  size_t end = std::min(begin + bytes, text.size());
  while (end > begin && inside(end)) --end;
  return text.substr(begin, end - begin);
}

Graded grade_positions(const std::vector<Bucket>& buckets, const Reply& reply) {
  Graded graded;
  for (const Bucket& bucket : buckets) {
    MetricValue value{0, 0};
    if (int64_t(reply.token_log_probs.size()) >= bucket.end) {
      for (int64_t i = bucket.begin; i < bucket.end; ++i) value.value += reply.token_log_probs[size_t(i)];
      value.weight = double(bucket.end - bucket.begin);
    }
    graded.values.emplace_back(bucket.name(), value);
  }
  return graded;
}

}  // namespace

Task positions_task(const std::string& file, int64_t positions, const TaskOptions& options) {
  check(!file.empty(), ErrorKind::invalid, "positions: --text FILE names the long texts to be read");
  const std::vector<Bucket> buckets = buckets_of(positions);
  check(!buckets.empty(), ErrorKind::invalid, "positions: a model of {} positions has none beyond {}", positions,
        kFirst);
  Task task{.name = "positions", .output_type = "loglikelihood_rolling"};
  for (const Bucket& bucket : buckets) task.metrics.push_back({bucket.name(), Aggregate::minus_ratio_bits, false});
  data::DocumentReader reader(file, {.named = true});
  check(reader.not_text().empty(), ErrorKind::invalid, "{}", reader.refusal());
  const int64_t most = options.limit > 0 ? options.limit : kTexts;
  const size_t piece = size_t(positions * kMostBytes);
  std::string text;
  while (int64_t(task.items.size()) < most && reader.next(text)) {
    // A document is one text; plain text is one document, of which pieces are taken.
    const bool pieces = reader.form() == data::Form::text;
    for (size_t at = 0; at < text.size() && int64_t(task.items.size()) < most; at += piece) {
      Item item{.id = int64_t(task.items.size()), .doc = {{"begins", cut_text(text, at, 80)}}};
      item.requests = {{.kind = RequestKind::rolling,
                        .continuation = cut_text(text, at, piece),
                        .keeps_tokens = true,
                        .max_tokens = positions}};
      task.items.push_back(std::move(item));
      if (!pieces) break;
    }
  }
  check(!task.items.empty(), ErrorKind::invalid, "{}: no text in it", file);
  task.n_items = int64_t(task.items.size());
  task.config = {{"task", "positions"}, {"text", file}, {"positions", positions}};
  task.notes = {"bits per token; of each bucket over the texts that reach its end"};
  task.grade = [buckets](const Item&, const std::vector<Replies>& replies) {
    return std::vector<Graded>{grade_positions(buckets, replies.at(0).at(0))};
  };
  return task;
}

}  // namespace hadal::eval

// A task of evaluation: items, what each asks of a model, and how the replies are graded. Whoever makes a task (a file
// in lm-eval's format, or one of the generators here) knows no model; whoever asks a model (ask.h) knows no task.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace hadal::eval {

using Json = nlohmann::ordered_json;

struct ChatTurn {
  std::string role, content;
};

// log_likelihood: log p(continuation | context), and whether it is what greedy decoding writes. rolling: log p of the
// whole text in `continuation`, in windows. generate: the text behind the context.
enum class RequestKind { log_likelihood, rolling, generate };

struct Request {
  RequestKind kind = RequestKind::generate;
  std::string context;         // a text; of a chat empty
  std::vector<ChatTurn> chat;  // in place of the context where it is not empty
  std::string continuation;
  bool keeps_tokens = false;  // of rolling: Reply::token_log_probs, and only the first max_tokens tokens count
  // Of a generation.
  std::vector<std::string> until;  // ends before the first of these
  int64_t max_tokens = 0;
  bool yields = false;       // fewer tokens, one at least, rather than a context that loses its beginning
  bool samples = false;      // drawn at `temperature`, else greedy
  double temperature = 1;    // where it samples
  bool keeps_marks = false;  // control tokens that are written (</think>) stay in the text
};

struct Reply {
  double log_prob = 0;  // natural; of log_likelihood and rolling
  bool greedy = false;
  std::string text;                     // of a generation
  bool ended = false;                   // it came to an id or a text that ends it, not to max_tokens
  int64_t n_tokens = 0;                 // written, or scored
  std::vector<double> token_log_probs;  // where the request keeps them, in the order of the text
};
// Of one request: one reply, or as many as samples were asked for.
using Replies = std::vector<Reply>;

struct Item {
  int64_t id = 0;
  std::string text;                  // its own question and answer, without examples, to be looked for elsewhere
  Json doc;                          // the line of the task's file, or what the generator drew
  std::string target;                // the right answer, for people
  std::vector<std::string> choices;  // of a task of choices
  std::vector<int64_t> gold;         // those of them that are right
  std::vector<Request> requests;
};

// Value of a metric for one item. An aggregate that is a ratio (perplexities) divides sums of values by sums of
// weights.
struct MetricValue {
  double value = 0, weight = 1;
};

enum class Aggregate {
  mean,
  exp_minus_mean,   // perplexity: exp(-mean)
  exp_minus_ratio,  // word_perplexity, byte_perplexity: exp(-sum values / sum weights)
  minus_ratio_bits  // bits_per_byte: the same without exp, in bits
};
struct Metric {
  std::string name;
  Aggregate aggregate = Aggregate::mean;
  bool higher_is_better = true;
};

// What one way of extracting answers made of an item.
struct Graded {
  std::string filter = "none";
  std::vector<std::string> extracted;  // of each sample; of choices: the chosen one
  std::vector<std::string> why;        // how it came to that, for people
  std::vector<std::pair<std::string, MetricValue>> values;
  int64_t undecided = 0;  // samples whose answer cannot be read as what it is compared as: they count as wrong
};

struct Task {
  std::string name;
  Json config;                  // what results.json says of it
  std::vector<Metric> metrics;  // of which each filter has all
  std::vector<Item> items;
  int64_t n_items = 0;  // before --limit
  int64_t n_shots = 0;
  std::string output_type;  // lm-eval's word
  // replies[r] are those of item.requests[r]. One entry for each filter.
  std::function<std::vector<Graded>(const Item& item, const std::vector<Replies>& replies)> grade;
  std::vector<std::string> notes;  // what a user should know, printed once
};

}  // namespace hadal::eval

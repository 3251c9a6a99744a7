#include "eval/file_grades.h"

#include <algorithm>

#include "base/error.h"
#include "eval/generation_grades.h"
#include "eval/python_value.h"
#include "grading/maths_equal.h"
#include "jinja/characters.h"

namespace hadal::eval {

size_t first_largest(const std::vector<double>& values) {
  return size_t(std::max_element(values.begin(), values.end()) - values.begin());
}

ItemGold gold_of(const TaskFile& file, const Item& item, const Json& target, bool many_targets) {
  ItemGold gold;
  const Json all = target.is_array() ? target : Json::array({target});
  for (const Json& one : all) {
    if (file.output == OutputType::multiple_choice || (file.output == OutputType::generate && !item.choices.empty())) {
      int64_t at = -1;
      if (one.is_number_integer() && one.get<int64_t>() >= 0 && one.get<int64_t>() < int64_t(item.choices.size()))
        at = one.get<int64_t>();
      if (one.is_string()) {
        const auto found = std::find(item.choices.begin(), item.choices.end(), one.get<std::string>());
        if (found != item.choices.end()) at = found - item.choices.begin();
      }
      gold.choices.push_back(at);
      if (at >= 0) gold.texts.push_back(item.choices[size_t(at)]);
    } else {
      gold.texts.push_back(python_text(one));
    }
  }
  check(!gold.choices.empty() || !gold.texts.empty(), ErrorKind::invalid, "{}: item {}: doc_to_target gives nothing",
        file.path, item.id);
  check(file.output != OutputType::multiple_choice || many_targets == target.is_array(), ErrorKind::invalid,
        "{}: item {}: doc_to_target gives {}, unlike the first item", file.path, item.id,
        target.is_array() ? "a list" : "one target");
  return gold;
}

std::vector<Metric> file_metrics(const TaskFile& file, int64_t samples) {
  std::vector<Metric> metrics;
  if (file.output == OutputType::generate) {
    std::vector<std::string> own;
    for (const FileMetric& metric : file.metrics) own.push_back(metric.name);
    metrics = generation_metrics(own, samples);
  } else {
    for (const FileMetric& metric : file.metrics) metrics.push_back({metric.name});
  }
  for (size_t m = 0; m < file.metrics.size(); ++m) {
    const std::string& name = file.metrics[m].name;
    metrics[m].higher_is_better = file.metrics[m].higher_is_better;
    if (name == "perplexity") metrics[m].aggregate = Aggregate::exp_minus_mean;
    if (name == "word_perplexity" || name == "byte_perplexity") metrics[m].aggregate = Aggregate::exp_minus_ratio;
    if (name == "bits_per_byte") metrics[m].aggregate = Aggregate::minus_ratio_bits;
  }
  return metrics;
}

namespace {

// len(re.split(r"\s+", text))
int64_t count_words(std::string_view text) {
  int64_t n = 1;
  for (size_t at = 0; at < text.size();) {
    const size_t space = jinja::strip_range(text.substr(at), true, false).first;
    if (space > 0) ++n, at += space;
    if (at < text.size()) ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  }
  return n;
}

Graded grade_choices(const TaskFile& file, const Item& item, const ItemGold& gold,
                     const std::vector<Replies>& replies) {
  const size_t n = item.choices.size();
  std::vector<double> plain, by_character, by_byte, mutual;
  for (size_t c = 0; c < n; ++c) {
    const double value = replies.at(c).at(0).log_prob;
    plain.push_back(value);
    by_character.push_back(value / double(python_length(item.choices[c])));
    by_byte.push_back(value / double(item.choices[c].size()));
    if (replies.size() == 2 * n) mutual.push_back(value - replies[n + c].at(0).log_prob);
  }
  Graded graded{.filter = file.filters.at(0).name};
  const auto right = [&](const std::vector<double>& values) {
    const auto chosen = int64_t(first_largest(values));
    return std::find(gold.choices.begin(), gold.choices.end(), chosen) != gold.choices.end() ? 1.0 : 0.0;
  };
  graded.extracted = {item.choices[first_largest(plain)]};
  graded.why = {"the largest log-likelihood"};
  for (const FileMetric& metric : file.metrics) {
    double value = 0;
    if (metric.name == "acc") value = right(plain);
    if (metric.name == "acc_norm") value = right(by_character);
    if (metric.name == "acc_bytes") value = right(by_byte);
    if (metric.name == "acc_mutual_info") value = right(mutual);
    if (metric.name == "exact_match")
      value = std::any_of(gold.choices.begin(), gold.choices.end(),
                          [&](int64_t c) { return c >= 0 && replies.at(size_t(c)).at(0).greedy; });
    graded.values.emplace_back(metric.name, MetricValue{value});
  }
  return graded;
}

Graded grade_scores(const TaskFile& file, const Item& item, const Reply& reply) {
  Graded graded{.filter = file.filters.at(0).name};
  const std::string& text = item.requests.at(0).continuation;
  for (const FileMetric& metric : file.metrics) {
    MetricValue value{reply.log_prob};
    if (metric.name == "acc") value.value = reply.greedy;
    if (metric.name == "word_perplexity") value.weight = double(count_words(text));
    if (metric.name == "byte_perplexity" || metric.name == "bits_per_byte") value.weight = double(text.size());
    graded.values.emplace_back(metric.name, value);
  }
  return graded;
}

class TextGrader {
 public:
  explicit TextGrader(const TaskFile& file) {
    for (const FileMetric& metric : file.metrics) names_.push_back(metric.name), matches_.emplace_back(metric.exact);
    for (const FileFilter& filter : file.filters) filters_.emplace_back(filter.name, filter.steps);
  }
  std::vector<Graded> grade(const ItemGold& gold, const Replies& replies) const {
    std::vector<Graded> all;
    for (const grading::FilterPipeline& filter : filters_) {
      std::vector<GradedSample> samples;
      for (const Reply& reply : replies) samples.push_back(grade_one(filter, gold, reply));
      const auto same = [&](const std::string& a, const std::string& b) { return equal(0, a, b); };
      all.push_back(grade_samples(names_, filter.name(), samples, same));
    }
    return all;
  }

 private:
  bool equal(size_t metric, const std::string& answer, const std::string& expected) const {
    if (names_[metric] == "maths_equal") return grading::maths_equal(expected, answer);
    return matches_[metric].equal(answer, expected);
  }
  GradedSample grade_one(const grading::FilterPipeline& filter, const ItemGold& gold, const Reply& reply) const {
    const grading::Extracted taken = filter.apply(reply.text);
    GradedSample sample{{taken.answer, taken.found}, taken.why, false, {}};
    if (std::find(names_.begin(), names_.end(), "maths_equal") != names_.end() &&
        !grading::readable_maths(taken.answer))
      sample.undecided = true, sample.why += "; cannot be read as mathematics";
    for (size_t m = 0; m < names_.size(); ++m)
      sample.values.push_back(std::any_of(gold.texts.begin(), gold.texts.end(),
                                          [&](const std::string& text) { return equal(m, taken.answer, text); }));
    return sample;
  }

  std::vector<std::string> names_;
  std::vector<grading::ExactMatch> matches_;
  std::vector<grading::FilterPipeline> filters_;
};

}  // namespace

std::function<std::vector<Graded>(const Item&, const std::vector<Replies>&)> grader_of(
    const std::shared_ptr<const TaskFile>& file, std::vector<ItemGold> golds) {
  const auto texts = file->output == OutputType::generate ? std::make_shared<const TextGrader>(*file) : nullptr;
  return [file, texts, golds = std::move(golds)](const Item& item, const std::vector<Replies>& replies) {
    const ItemGold& gold = golds.at(size_t(item.id));
    if (texts) return texts->grade(gold, replies.at(0));
    if (file->output == OutputType::multiple_choice)
      return std::vector<Graded>{grade_choices(*file, item, gold, replies)};
    return std::vector<Graded>{grade_scores(*file, item, replies.at(0).at(0))};
  };
}

}  // namespace hadal::eval

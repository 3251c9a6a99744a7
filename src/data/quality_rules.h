// Rules that refuse documents, and C4's that cut lines out of them (config/rules_config.h; thresholds as published).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "data/words.h"

namespace hadal::data {

// Why a document was refused: the rule's name as its limit is called in the configuration, what was measured, and the
// limit. A rule of words alone ("c4.no_brackets") has 1 and 0.
struct Refusal {
  std::string rule;
  double value = 0, limit = 0;
};

// The rules of a source: its list `rules`, in the order of kRuleSets, each known (config/validate.cpp).
class QualityRules {
 public:
  explicit QualityRules(const SourceConfig& source);
  bool empty() const { return sets_.empty(); }
  bool cut_lines() const { return cuts_; }  // whether a document that stays may be shorter than it was

  // The first rule that refuses it; or none, and then `text` is what is left of it.
  std::optional<Refusal> judge(std::string& text) const;
  // Every rule that would refuse it on its own.
  std::vector<Refusal> all(std::string_view text) const;
  // The first `most` of these; and if there is none, `text` is what is left of it. `split` may hold the text's split,
  // and does so afterwards, of what is left, if a rule asked for one.
  std::vector<Refusal> ask(std::string& text, size_t most, std::optional<SplitText>& split) const;
  // What is left of a document that no rule refuses.
  void cut(std::string& text) const;

 private:
  std::vector<std::string> sets_;
  RulesConfig limits_;
  bool cuts_ = false;
};

// The rule sets of a source and all their limits, as a line of JSON: what its shards depend on.
std::string rules_recipe(const SourceConfig& source);

}  // namespace hadal::data

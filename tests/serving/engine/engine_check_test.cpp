// hadal check engine: finds nothing on models as they are, in every arithmetic and form, and names what differs when a
// weight changes between two conditions.
#include "engine/engine_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/expect_error.h"
#include "model/small_model.h"

namespace hadal {
namespace {

using testing::small_config;
using testing::SmallModel;

TEST(EngineCheck, FindsNoDifferenceInAnyArithmeticAndForm) {
  for (const auto& [precision, isa] : testing::every_arithmetic()) {
    for (const testing::Attention& attention : testing::kAttentions) {
      ModelOptions options;
      options.precision = precision, options.attention_form = attention.form;
      SmallModel small(attention.in(small_config()), options, 2, isa);
      const OwnedExec one(1, isa);
      std::set<std::string> names;
      for (const EngineCondition& c : check_engine(small.owned.exec, &one.exec, small.model, {})) {
        EXPECT_EQ(c.first, "") << c.name;
        EXPECT_EQ(c.worst, 0) << c.name;
        EXPECT_GT(c.tokens, 50) << c.name;
        names.insert(c.name);
      }
      for (const char* name :
           {"the trainer's forward", "all in one batch", "in other slots and blocks", "7 rows a step", "drafts: 1",
            "drafts: 2", "one thread", "prompts found in the cache", "preempted, blocks evicted"})
        EXPECT_EQ(names.count(name), 1u) << name;
    }
  }
}

TEST(EngineCheck, NamesTheConditionTheTokenAndTheFirstLayerThatDiffer) {
  const std::pair<const char*, const char*> places[] = {
      {"head", "behind the last layer"}, {"embedding", "from embedding on"}, {"layers.2.attention.o", "from layers.2"}};
  for (const auto& [parameter, layer] : places) {
    SmallModel small(small_config(), {});
    EngineCheckOptions options;
    options.begins = [&](const std::string& condition) {
      if (condition != "64 rows a step") return;
      const Tensor weight = small.model.parameter(parameter).value.plain;
      for (int64_t i = 0; i < weight.count(); ++i) set_element(weight, i, 1.01 * element(weight, i));
    };
    for (const EngineCondition& c : check_engine(small.owned.exec, nullptr, small.model, options)) {
      const bool before = c.name == "the trainer's forward" || c.name == "all in one batch" ||
                          c.name == "in other slots and blocks" || c.name == "7 rows a step";
      EXPECT_EQ(c.first.empty(), before) << c.name;
      if (before) continue;
      EXPECT_GT(c.worst, 0) << c.name;
      EXPECT_EQ(c.first.find("request 0, position "), 0u) << c.first;
      EXPECT_NE(c.first.find(layer), std::string::npos) << parameter << " in " << c.name << ": " << c.first;
    }
  }
}

TEST(EngineCheck, AsksWhoElseScoresTexts) {
  SmallModel small(small_config(), {});
  EngineCheckOptions options;
  options.requests = 2, options.scorer = "another";
  double by = 0;
  options.score = [&](const std::vector<int32_t>& tokens) {
    std::vector<double> log_probs;
    small.forward(batch_of_tokens(tokens), &log_probs);
    log_probs.back() += by;
    return log_probs;
  };
  for (const bool differs : {false, true}) {
    by = differs ? 1e-12 : 0;
    int64_t n_different = 0;
    for (const EngineCondition& c : check_engine(small.owned.exec, nullptr, small.model, options)) {
      EXPECT_EQ(c.first.empty(), !differs || c.name != "another") << c.name << c.first;
      n_different += !c.first.empty();
    }
    EXPECT_EQ(n_different, differs);
  }
}

TEST(EngineCheck, RefusesRequestsThatHaveNoRoom) {
  SmallModel small(small_config(), {});
  EXPECT_ERROR(check_engine(small.owned.exec, nullptr, small.model, {.prompt_tokens = 1}), ErrorKind::invalid,
               "6 requests of at most 1 and 40 tokens");
}

}  // namespace
}  // namespace hadal

// An extension of the context beside what it is held against, on the page of a run.
#include "phases/extension_part.h"

#include <gtest/gtest.h>

#include "base/expect_words.h"

namespace hadal {
namespace {

EvaluationRecord needle(double value, int64_t items = 2) {
  EvaluationRecord record{"needle", false, "step_1", {{"limit", 2}, {"seed", 1}}, items};
  record.grids = {{"likeliest", "depth", "tokens", {"1024"}, {"0%", "100%"}, {value, 1}}};
  return record;
}

EvaluationRecord positions(std::vector<std::pair<std::string, double>> bits) {
  EvaluationRecord record{"positions", false, "step_1", {{"limit", 2}, {"seed", 1}}, 2};
  for (const auto& [name, value] : bits) record.metrics.push_back({name, "none", value, 0.25});
  return record;
}

ContextExtension extension(std::vector<EvaluationRecord> before, std::vector<EvaluationRecord> after,
                           std::vector<EvaluationRecord> control) {
  return {"longer", {{"before", "base", before}, {"after", "longer", after}, {"without YaRN", "<plain>", control}}};
}

TEST(ExtensionPart, PutsGridsBesideEachOtherAndBucketsIntoOneTable) {
  EvaluationRecord of_average = needle(0.875);
  of_average.average = true;
  const auto all = extension({of_average, needle(0.125), positions({{"bits_64_127", 1.5}})},
                             {needle(0.75), positions({{"bits_64_127", 1.25}, {"bits_128_255", 1.0}})},
                             {needle(0.5), positions({{"bits_64_127", 1.75}, {"bits_128_255", 3.0}})});
  ASSERT_TRUE(all.can_be_compared());
  const std::string part = extension_part({all});
  expect_words(part, {"before: base", "after: longer", "without YaRN: &lt;plain&gt;", ">0.12<", ">0.75<", ">0.50<"});
  EXPECT_LT(part.find("before: base"), part.find("after: longer"));
  expect_words(part, {"<tr><td>64 to 127</td><td>1.5000 ± 0.2500</td><td>1.2500 ± 0.2500</td><td>1.7500 ± 0.2500</td>",
                      "<tr><td>128 to 255</td><td>-</td><td>1.0000 ± 0.2500</td><td>3.0000 ± 0.2500</td>"});
  EXPECT_EQ(part.find("<plain>"), std::string::npos);
  EXPECT_EQ(part.find("Not asked alike"), std::string::npos);
  EXPECT_EQ(part.find(">0.88<"), std::string::npos) << "weights are compared";
}

TEST(ExtensionPart, SaysWhichSideWasNotAskedAlike) {
  expect_words(extension_part({extension({needle(0.5)}, {needle(0.5)}, {})}),
               {"Not asked alike; &lt;plain&gt; was not"});
  expect_words(extension_part({extension({needle(0.5)}, {needle(0.5, 7)}, {needle(0.5)})}),
               {"Not asked alike; longer was asked 7 items, not 2"});
  EvaluationRecord other = needle(0.5);
  other.asked["seed"] = 2;
  expect_words(extension_part({extension({needle(0.5)}, {needle(0.5)}, {other})}), {"with other settings"});
}

TEST(ExtensionPart, HasNothingToSayOfOneSide) {
  EXPECT_EQ(extension_part({extension({}, {needle(0.5), positions({{"bits_64_127", 1.5}})}, {})}), "");
  EvaluationRecord another = needle(0.5);
  another.task = "arithmetic";
  EXPECT_EQ(extension_part({extension({another}, {another}, {another})}), "");
}

}  // namespace
}  // namespace hadal

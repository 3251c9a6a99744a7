// What is said of a shadow check: its warning, and its part of the report page.
#include "train/shadow_lines.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace hadal {
namespace {

using nlohmann::ordered_json;

ordered_json line_of(int64_t step, int64_t layer, double error) {
  const ordered_json operand = {{"error", 0.026},    {"flushed", 0.12}, {"saturated", 0.0},
                                {"subnormal", 0.01}, {"binades", 14.5}, {"histogram", {0.25, 0.5, 0.25}}};
  return {{"kind", "shadow"},
          {"step", step},
          {"rank", 0},
          {"layer", layer},
          {"products",
           {{{"linear", "attention.o"}, {"result", "y"}, {"error", 0.037}, {"x", operand}, {"weight", operand}},
            {{"linear", "attention.o"}, {"result", "dx"}, {"error", error}, {"dy", operand}}}}};
}

TEST(ShadowLines, WarnOnlyWhereAProductIsFarOff) {
  EXPECT_EQ(shadow_warning(line_of(50, 3, 0.0554)), "");
  const std::string text = shadow_warning(line_of(50, 3, 0.071));
  for (const char* words :
       {"step 50, layer 3", "dx of attention.o is 7.10 % off", "3.70 %", "dy: 12.00 %", "14.5 binades"})
    EXPECT_NE(text.find(words), std::string::npos) << words << " is not in: " << text;
  EXPECT_NE(shadow_warning(line_of(50, 3, std::nan(""))), "");
}

TEST(ShadowLines, ChartsHaveACellForEachLookAndNoneWhereNobodyLooked) {
  EXPECT_EQ(shadow_charts({}, "run"), "");
  // Two layers; the second was looked at once.
  const std::vector<ordered_json> lines = {line_of(50, 0, 0.037), line_of(100, 1, 0.037), line_of(150, 0, 0.074)};
  const std::string charts = shadow_charts(lines, "run");
  size_t cells = 0;
  for (size_t at = charts.find("hsl("); at != std::string::npos; at = charts.find("hsl(", at + 1)) ++cells;
  EXPECT_EQ(cells, 2u * 3u);  // of y and dx: three looks; of dW none
  EXPECT_NE(charts.find("error of dx"), std::string::npos);
  EXPECT_EQ(charts.find("error of dW"), std::string::npos);
  EXPECT_NE(charts.find("hsl(120"), std::string::npos);  // as expected
  EXPECT_NE(charts.find("hsl(0 "), std::string::npos);   // twice that
  const std::string table = shadow_table(lines);
  EXPECT_LT(table.find("7.40 %"), table.find("3.70 %"));  // the worst first
}

TEST(ShadowLines, LayersTakeTurns) {
  Config config;
  config.fp8.shadow_every = 10;
  EXPECT_EQ(due_shadow_check(config, 10, {}), nullptr);
  config.train.precision = Precision::fp8;
  EXPECT_EQ(due_shadow_check(config, 11, {}), nullptr);
  EXPECT_EQ(due_shadow_check(config, 10, {}), nullptr);  // no layer is held
  Parameter a, b;
  a.codes = b.codes = CodeForm();
  a.spec.layer = 2, b.spec.layer = 5;
  for (const auto& [step, layer] : {std::pair<int64_t, int64_t>{10, 2}, {20, 5}, {30, 2}}) {
    const auto check = due_shadow_check(config, step, {&a, &b});
    ASSERT_NE(check, nullptr);
    EXPECT_EQ(check->layer(), layer);
  }
}

}  // namespace
}  // namespace hadal

// YAML of strangers: what scalars are, and what is refused, with its line.
#include "eval/yaml.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/expect_error.h"
#include "base/json.h"

namespace hadal::eval {
namespace {

std::string read(const std::string& text) { return json_text(read_yaml(text, "T.yaml")); }

TEST(Yaml, ScalarsAreWhatPythonMakesOfThem) {
  EXPECT_EQ(read("[yes, No, on, TRUE, y, null, ~, '', 'yes', \"1\"]"),
            R"([true,false,true,true,"y",null,null,"","yes","1"])");
  EXPECT_EQ(read("[12, -7, +3, 0x1F, 0b101, 017, 1_000, 08, 1.5, .5, 1e5, 1.0e+2, -2., 1.2.3]"),
            R"([12,-7,3,31,5,15,1000,"08",1.5,0.5,"1e5",100.0,-2.0,"1.2.3"])");
  EXPECT_EQ(read("a: |\n  x\n   y\nb: >-\n  p\n  q\nc: plain text\nd:\n"),
            R"({"a":"x\n y\n","b":"p q","c":"plain text","d":null})");
  EXPECT_EQ(read(""), "null");
  EXPECT_TRUE(std::isinf(read_yaml(".inf", "t").get<double>()));
  EXPECT_EQ(read("{on: 1, 2: b}"), R"({"on":1,"2":"b"})");  // keys stay texts
}

TEST(Yaml, RefusesWhatATaskFileNeedNotHave) {
  const auto refused = [](const std::string& text, const char* part) {
    EXPECT_ERROR(read_yaml(text, "T.yaml"), ErrorKind::unsupported, part);
  };
  refused("a: 1\nb: !function utils.f\n", "T.yaml: line 2: the tag !function");
  refused("!!python/object:os.system x", "the tag tag:yaml.org,2002:python/object:os.system");
  refused("a: &x 1\n", "the anchor &x");
  refused("a: [1]\nb: *x\n", "");
  refused("a: 1\na: 2\n", "line 2: the key 'a' stands here twice");
  refused("<<: {a: 1}\n", "merge key");
  refused("? [a]\n: 1\n", "a key must be a text");
  refused("a: 1\n---\nb: 2\n", "second document");
  refused("a: 2026-01-31", "in quotes");
  refused("a: 12:30", "in quotes");
  refused(std::string(100, '['), "deeper than 32");
}

TEST(Yaml, IsBoundedBeforeItIsBuilt) {
  std::string many = "a:\n";
  for (int i = 0; i < 60'000; ++i) many += "- &a" + std::to_string(i) + " x\n";
  EXPECT_ERROR(read_yaml(many, "T.yaml"), ErrorKind::unsupported, "line 2: the anchor &a0");
  EXPECT_ERROR(read_yaml(std::string(2 << 20, 'a'), "T.yaml"), ErrorKind::invalid, "more than the 1048576");
  EXPECT_ERROR(read_yaml("[" + std::string(300'000, ','), "T.yaml"), ErrorKind::corrupt, "line 1");
  std::string list = "[";
  for (int i = 0; i < 150'000; ++i) list += "1,";
  EXPECT_ERROR(read_yaml(list + "1]", "T.yaml"), ErrorKind::unsupported, "more than 100000 values");
  EXPECT_ERROR(read_yaml("a: \xff", "T.yaml"), ErrorKind::corrupt, "UTF-8");
  EXPECT_ERROR(read_yaml("a: 'x", "T.yaml"), ErrorKind::corrupt, "not valid YAML");
}

}  // namespace
}  // namespace hadal::eval

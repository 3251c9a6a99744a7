// Chat templates beside Python's jinja2 in transformers' own environment.
#include <gtest/gtest.h>

#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "jinja/chat_cases.h"

namespace hadal {
namespace {

using testing::inputs_of;
using testing::Json;
using testing::peer_cases;
using testing::special_tokens;

// Our text; nothing, and why, where there is an error.
std::optional<std::string> our_text(const Json& one, std::string& why) {
  try {
    const ChatTemplate chat = ChatTemplate::parse(one["source"].get<std::string>(), special_tokens(one));
    return chat_text(one.contains("inputs") ? chat.render(inputs_of(one))
                                            : chat.render_variables(json_text(one["variables"]), one["clock"]));
  } catch (const Error& e) {
    why = e.what();
    return std::nullopt;
  }
}

// The first line in which they differ.
std::string first_difference(const std::string& ours, const std::string& theirs) {
  std::istringstream a(ours), b(theirs);
  std::string x, y;
  while (true) {
    const bool more = bool(std::getline(a, x)), also = bool(std::getline(b, y));
    if (x != y || !more || !also) return "ours:   " + json_text(Json(x)) + "\ntheirs: " + json_text(Json(y));
  }
}

// Every case has jinja2's text, or an error where jinja2 has one. Returns how many had a text.
int expect_equal_texts(const std::vector<Json>& cases) {
  int texts = 0, shown = 0;
  for (const Json& one : cases) {
    std::string why;
    const auto ours = our_text(one, why);
    const auto theirs = one["text"].is_null() ? std::nullopt : std::optional(one["text"].get<std::string>());
    texts += theirs.has_value();
    if (ours == theirs) continue;
    ADD_FAILURE() << one["name"] << "\nsource: " << json_text(one["source"]) << "\n"
                  << first_difference(ours ? *ours : "error: " + why, theirs ? *theirs : "error");
    if (++shown == 25) break;
  }
  return texts;
}

TEST(ChatTemplatePeer, PublishedAndPurposeMadeTemplatesGiveJinjasTextOverManyConversations) {
  const std::vector<Json> cases = peer_cases("templates");
  EXPECT_GE(cases.size(), 1400u);
  EXPECT_GE(expect_equal_texts(cases), 900);
}

TEST(ChatTemplatePeer, RandomSnippetsGiveJinjasTextOrAnErrorWhereJinjaHasOne) {
  const std::vector<Json> cases = peer_cases("snippets 7 450");
  EXPECT_EQ(cases.size(), 450u);
  EXPECT_GE(expect_equal_texts(cases), 285);
}

TEST(ChatTemplatePeer, CharactersHaveTheCasesAndClassesOfPython) {
  const std::vector<Json> cases = peer_cases("characters");
  EXPECT_GE(cases.size(), 10u);
  EXPECT_EQ(expect_equal_texts(cases), int(cases.size()));
}

}  // namespace
}  // namespace hadal

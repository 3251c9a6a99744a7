// Chat templates as models are released with them, out of PyPI packages, beside Python's jinja2 in transformers' own
// environment: the same text, or an error where it has one, with the same words where the template itself refuses.
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "jinja/chat_cases.h"

namespace hadal {
namespace {

using testing::Json;

struct Outcome {
  std::optional<std::string> text;
  std::string why;  // where there is none
};

Outcome outcome_of(const std::optional<ChatTemplate>& chat, const Json& one, int64_t clock, const std::string& why) {
  if (!chat) return {std::nullopt, why};
  try {
    ChatInputs inputs = testing::inputs_of(one, clock);
    inputs.text_parts = one.contains("text_parts"), inputs.reasoning_names = one.contains("reasoning_names");
    return {chat_text(chat->render(inputs)), ""};
  } catch (const Error& e) {
    return {std::nullopt, e.what()};
  }
}

std::string difference(const Outcome& ours, const Json& one) {
  const auto theirs = one["text"].is_null() ? std::nullopt : std::optional(one["text"].get<std::string>());
  if (ours.text != theirs) {
    if (!ours.text) return "ours: error: " + ours.why;
    if (!theirs) return "theirs: an error; ours: " + ours.text->substr(0, 200);
    size_t at = 0;
    while (at < std::min(ours.text->size(), theirs->size()) && (*ours.text)[at] == (*theirs)[at]) ++at;
    const size_t from = at < 60 ? 0 : at - 60;
    return "ours:   ..." + ours.text->substr(from, 160) + "\ntheirs: ..." + theirs->substr(from, 160);
  }
  const bool raised = !one["raised"].is_null();
  if (raised &&
      ours.why.find("raised an exception: " + one["raised"].get<std::string>().substr(0, 900)) == std::string::npos)
    return "theirs raised: " + one["raised"].get<std::string>() + "\nours: " + ours.why;
  return "";
}

// Contents in parts: rendered as they are, or as the joined text is; never printed as lists.
std::string difference_either_way(const Outcome& ours, const Json& one) {
  const Json& either = one["either"];
  if (!ours.text) return either[1].is_null() ? "" : "ours: error: " + ours.why;
  if (ours.text->find("'type': 'text'") != std::string::npos) return "ours prints a part: " + *ours.text;
  if (either[0] != *ours.text && either[1] != *ours.text) return "ours is neither way: " + *ours.text;
  return "";
}

TEST(RealTemplatesPeer, GiveJinjasTextOverEveryFormOfChat) {
  const char* const folders = std::getenv("HADAL_CHAT_TEMPLATES");  // others than the packages', to look at
  int templates = 0, texts = 0, refusals = 0, shown = 0;
  size_t chats = 1000;
  const auto visit = [&](const Json& whole) {
    std::optional<ChatTemplate> chat;
    std::string why;
    try {
      chat = ChatTemplate::parse(whole["source"].get<std::string>(), testing::special_tokens(whole));
    } catch (const Error& e) {
      why = e.what();
    }
    ++templates;
    chats = std::min(chats, whole["cases"].size());
    for (const Json& one : whole["cases"]) {
      const Outcome ours = outcome_of(chat, one, whole["clock"], why);
      const std::string differs = one.contains("either") ? difference_either_way(ours, one) : difference(ours, one);
      ours.text ? ++texts : ++refusals;
      if (differs.empty() || ++shown > 40) continue;
      ADD_FAILURE() << whole["name"] << ": " << one["name"] << "\n" << differs;
    }
  };
  testing::for_peer_lines("chat_template_packages.py", std::string("OUT ") + (folders != nullptr ? folders : ""),
                          visit);
  EXPECT_EQ(shown, 0);
  if (folders != nullptr) return;
  EXPECT_GE(templates, 105);
  EXPECT_GE(chats, 15u * 4);
  EXPECT_GE(texts, 12000);
  EXPECT_GE(refusals, 1000);
}

}  // namespace
}  // namespace hadal

// Dialogues for tests: lines of the formats, and what a batch shows of them, in letters.
#pragma once
#include <string>
#include <vector>

#include "data/data_testing.h"
#include "data/dialogue.h"
#include "data/dialogue_samples.h"

namespace hadal::data {

// The one form of a line, or "refused: WHY".
inline std::string one_form(const std::string& line, SourceFormat format, const std::string& field = "text") {
  std::string dialogue;
  int64_t replaced = 0;
  const std::string why = read_dialogue(line, format, field, dialogue, replaced);
  return why.empty() ? dialogue : "refused: " + why;
}

// Messages as a line of the format `messages`: {"user", "q"}, {"assistant", "a"}, ...
inline std::string messages_line(const std::vector<std::pair<std::string, std::string>>& messages) {
  std::string list;
  for (const auto& [role, content] : messages) {
    std::string text = json_line(content);
    text = text.substr(9, text.size() - 11);  // the string alone
    list += (list.empty() ? "" : ", ") + ("{\"role\": \"" + role + "\", \"content\": " + text + "}");
  }
  return "{\"messages\": [" + list + "]}";
}

// A token of the byte tokenizer as a letter: B, E, U, A for BOS, EOS, <｜User｜>, <｜Assistant｜>, T and / for <think> and
// </think>, else its byte; '-' for -1.
inline char letter_of(const Tokenizer& tokenizer, int32_t id) {
  if (id < 0) return '-';
  const std::string_view bytes = tokenizer.token_bytes(id);
  if (bytes == kBosToken) return 'B';
  if (bytes == kEosToken) return 'E';
  if (bytes == kUserToken) return 'U';
  if (bytes == kAssistantToken) return 'A';
  if (bytes == kThinkBeginToken) return 'T';
  if (bytes == kThinkEndToken) return '/';
  return bytes.size() == 1 ? bytes[0] : '?';
}

inline std::string letters_of(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += letter_of(tokenizer, id);
  return text;
}

// A sample in two lines of letters, "TOKENS|TRAINED", untrained ones as '-'.
inline std::string sample_letters(const Tokenizer& tokenizer, const DialogueSample& sample) {
  std::string text = letters_of(tokenizer, sample.ids) + "|";
  for (size_t i = 0; i < sample.ids.size(); ++i) text += sample.trained[i] ? letter_of(tokenizer, sample.ids[i]) : '-';
  return text;
}

inline std::vector<std::string> samples_of(const Tokenizer& tokenizer, const std::string& line,
                                           TrainOn train_on = TrainOn::assistant,
                                           SourceFormat format = SourceFormat::messages,
                                           const std::string& chat_template = "") {
  std::vector<std::string> all;
  try {
    const DialogueWriter writer(tokenizer, chat_template);
    for (const DialogueSample& sample : writer.samples(one_form(line, format), train_on))
      all.push_back(sample_letters(tokenizer, sample));
  } catch (const Error& error) {
    all.push_back(std::string("refused: ") + error.what());
  }
  return all;
}

// Shards of dialogues, under the byte tokenizer, and the loader's settings for them.
struct DialogueFixture : Fixture {
  explicit DialogueFixture(const std::vector<std::string>& lines, SourceFormat format = SourceFormat::messages)
      : Fixture({}) {
    std::string all;
    for (const std::string& line : lines) all += line + "\n";
    write_text(directory / "chats.jsonl", all);
    config.data.sources = {source_of("chats", directory / "chats.jsonl")};
    config.data.sources[0].format = format;
    config.data.document_mask = DocumentMask::document;
    config.data.at_end = AtEnd::stop;
    config.data.sequence_length = 64;
  }
};

}  // namespace hadal::data

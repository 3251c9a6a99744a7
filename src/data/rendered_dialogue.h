// A dialogue (dialogue.h) as a chat template writes it, as many of its messages as are asked for, and what can be said
// of such texts: which one begins another, where an answer stands.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "jinja/chat_template.h"

namespace hadal::data {

using Fragments = std::vector<ChatFragment>;

class RenderedDialogue {
 public:
  // `dialogue` has "messages". The template must outlive it.
  RenderedDialogue(const ChatTemplate& chat, nlohmann::ordered_json dialogue);

  int64_t n_messages() const { return int64_t(dialogue_["messages"].size()); }
  bool is_answer(int64_t message) const;       // an assistant's
  bool is_trained(int64_t message) const;      // an assistant's that no "weight" and no prompt excepts
  std::string name(int64_t message) const;     // "message 3 (assistant)"
  std::string thought(int64_t message) const;  // of an answer, without blanks around; empty: none

  // The first `n` messages; asks: and the beginning of an answer. Throws what the template throws.
  Fragments first(int64_t n, bool asks) const;
  // The messages up to this answer, with its thought, whatever the template does with thoughts.
  Fragments up_to_answer(int64_t message) const;
  // Throws invalid, naming the first message whose words are not in `text`. But for thoughts, which may be dropped.
  void check_written(const std::string& text) const;

 private:
  Fragments render(std::string messages, bool asks) const;
  std::string first_messages(int64_t n) const;  // as JSON, the list's end missing

  const ChatTemplate& chat_;
  nlohmann::ordered_json dialogue_;
  std::vector<std::string> messages_;  // as JSON
};

int64_t bytes_in_common(const Fragments& a, const Fragments& b);
// Whether `whole` begins with the text of `part`, and every control token that the template wrote there is one in it.
bool begins_with(const Fragments& whole, const Fragments& part);
Fragments cut_after(const Fragments& fragments, int64_t bytes);   // what stands before this byte
Fragments cut_before(const Fragments& fragments, int64_t bytes);  // from this byte on
// Between these bytes the first <think> and </think> are control tokens, whoever wrote them: a model's answers have
// them as such.
void mark_thought(Fragments& fragments, int64_t begin, int64_t end);

struct ByteSpan {
  int64_t begin = 0, end = 0;
};
// What stands inside of {% generation %} between these bytes.
std::vector<ByteSpan> generated_spans(const Fragments& fragments, int64_t begin, int64_t end);

}  // namespace hadal::data

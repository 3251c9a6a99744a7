// See dialogue_samples.h.
#include "data/dialogue_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "data/rendered_dialogue.h"
#include "text/chat_files.h"
#include "text/encode_chat.h"
#include "text/report_template.h"
#include "text/tokenizer_files.h"

namespace hadal::data {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* kTemplateFile = "chat_template.jinja";

bool is_named(const ChatFiles& files, const std::string& wanted) {
  return std::any_of(files.templates.begin(), files.templates.end(),
                     [&](const NamedTemplate& one) { return one.name == wanted; });
}

bool names_a_file(const ChatFiles& files, const std::string& wanted) {
  return !wanted.empty() && !is_named(files, wanted) && fs::is_regular_file(wanted);
}

NamedTemplate choose(const ChatFiles& files, const std::string& wanted, bool tools) {
  if (names_a_file(files, wanted)) return {wanted, read_file(wanted), wanted};
  check(wanted.empty() || is_named(files, wanted), ErrorKind::not_found,
        "data.chat_template = \"{}\" is no file and none of the tokenizer's templates", wanted);
  if (files.templates.empty()) return {"default", std::string(report_chat_template()), "the report"};
  return *chosen_template(files, {.name = wanted, .tools = tools}, "the tokenizer");
}

std::map<std::string, std::string> special_tokens(const Tokenizer& tokenizer, const ChatFiles& files) {
  std::map<std::string, std::string> tokens = files.special_tokens;
  if (const auto id = tokenizer.bos_id()) tokens.emplace("bos_token", std::string(tokenizer.token_bytes(*id)));
  if (const auto id = tokenizer.eos_id()) tokens.emplace("eos_token", std::string(tokenizer.token_bytes(*id)));
  return tokens;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

// A text for messages: its end, or its beginning, visible.
std::string quoted(const std::string& text) { return json_text(Json(text), {.lossy = true}); }

// How many ids stand before this byte of a text, if the last of them is a control token, which no other token can grow
// over; else 0. So it is where one swallowed blanks beside it: then the bytes of tokens do not make the text.
int64_t ids_up_to_control_token(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, const Fragments& text,
                                int64_t byte) {
  int64_t at = 0, found = 0, all = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    at += int64_t(tokenizer.token_bytes(ids[i]).size());
    if (at == byte && tokenizer.is_added(ids[i])) found = int64_t(i) + 1;
  }
  for (const ChatFragment& fragment : text) all += int64_t(fragment.text.size());
  return at == all ? found : 0;
}

bool marks_answers(const Fragments& text) {  // with {% generation %}
  return std::any_of(text.begin(), text.end(), [](const ChatFragment& fragment) { return fragment.generated; });
}

}  // namespace

int64_t DialogueSample::n_trained() const { return std::accumulate(trained.begin(), trained.end(), int64_t(0)); }

struct DialogueWriter::State {
  const Tokenizer& tokenizer;
  std::string source, origin;
  bool of_report = false, add_bos = false;
  ChatTemplate plain, with_tools;

  DialogueSample of_texts(const Json& dialogue, TrainOn train_on) const;
  // last: the answer that the whole is the text of, -1: none.
  std::optional<DialogueSample> sample_of(const RenderedDialogue& chat, Fragments whole, int64_t last,
                                          const std::vector<int64_t>& answers) const;
  struct Place {  // of an answer in the whole, in bytes: where the messages before it end, and where it ends
    int64_t answer = 0, begin = 0, end = 0;
  };
  void mark_answer(const RenderedDialogue& chat, const Fragments& whole, const Place& at, DialogueSample& sample) const;
  int64_t border(const RenderedDialogue& chat, int64_t answer, const Fragments& whole, int64_t byte,
                 const std::vector<int32_t>& ids) const;
  void finish(DialogueSample& sample) const;
  void check_tokens(const Fragments& whole) const;
};

// How many ids stand before this byte of the text; the ids of what stands there alone have to be these.
int64_t DialogueWriter::State::border(const RenderedDialogue& chat, int64_t answer, const Fragments& whole,
                                      int64_t byte, const std::vector<int32_t>& ids) const {
  if (const int64_t n = ids_up_to_control_token(tokenizer, ids, whole, byte); n > 0) return n;
  const std::vector<int32_t> before = encode_chat(tokenizer, cut_after(whole, byte));
  const bool fits = before.size() <= ids.size() && std::equal(before.begin(), before.end(), ids.begin());
  check(fits, ErrorKind::invalid, "{}: a token crosses the border of its answer, between {} and {}", chat.name(answer),
        quoted(chat_text(cut_after(whole, byte)).substr(size_t(std::max<int64_t>(0, byte - 12)))),
        quoted(chat_text(whole).substr(size_t(byte), 12)));
  return int64_t(before.size());
}

// Marks the tokens of one answer. `whole` begins with the dialogue up to it.
void DialogueWriter::State::mark_answer(const RenderedDialogue& chat, const Fragments& whole, const Place& at,
                                        DialogueSample& sample) const {
  const std::vector<int32_t>& ids = sample.ids;
  const auto [answer, begin, end] = at;
  const Fragments prompt = chat.first(answer, true);
  const std::vector<ByteSpan> spans = generated_spans(whole, begin, end);
  const auto train = [&](int64_t from, int64_t to) {
    std::fill(sample.trained.begin() + from, sample.trained.begin() + to, 1);
  };
  if (!spans.empty()) {
    // The prompt behind what stands before it in the whole, where thoughts are marked.
    Fragments asks = cut_after(whole, begin);
    if (bytes_in_common(prompt, whole) >= begin)
      for (ChatFragment& fragment : cut_before(prompt, begin)) asks.push_back(std::move(fragment));
    const std::vector<int32_t> asked = encode_chat(tokenizer, asks);
    const int64_t given = std::mismatch(asked.begin(), asked.end(), ids.begin(), ids.end()).first - asked.begin();
    int64_t last = 0;
    for (const ByteSpan& span : spans) {
      const int64_t from = std::max(given, border(chat, answer, whole, span.begin, ids));
      last = border(chat, answer, whole, span.end, ids);
      if (from < last) train(from, last);
    }
    if (last < int64_t(ids.size()) && tokenizer.eos_id() && ids[size_t(last)] == *tokenizer.eos_id())
      train(last, last + 1);
    return;
  }
  const int64_t asked = int64_t(chat_text(prompt).size());
  const int64_t common = bytes_in_common(prompt, whole);
  check(begins_with(whole, prompt), ErrorKind::invalid,
        "{}: the chat template asks for it with {} and writes {} there; where it stands cannot be told",
        chat.name(answer),
        quoted(chat_text(prompt).substr(size_t(std::max<int64_t>(0, std::min(common, asked - 1) - 20)))),
        quoted(chat_text(whole).substr(size_t(std::max<int64_t>(0, std::min(common, asked - 1) - 20)), 40)));
  const int64_t from = border(chat, answer, whole, asked, ids);
  int64_t to = border(chat, answer, whole, end, ids);
  int64_t words = to;  // behind them blanks alone: if a control token ends them, nobody has to learn the blanks
  while (words > from && !tokenizer.is_added(ids[size_t(words - 1)]) &&
         is_blank(tokenizer.token_bytes(ids[size_t(words - 1)])))
    --words;
  if (words > from && tokenizer.is_added(ids[size_t(words - 1)])) to = words;
  train(from, to);
}

// The template of the report writes control tokens that the tokenizer must have.
void DialogueWriter::State::check_tokens(const Fragments& whole) const {
  if (!of_report) return;
  for (const ChatFragment& fragment : whole) {
    if (!fragment.from_template) continue;
    const std::string_view text = fragment.text;
    for (size_t at = text.find("<｜"); at != std::string_view::npos; at = text.find("<｜", at + 1)) {
      const size_t end = text.find("｜>", at);
      if (end == std::string_view::npos) break;
      const std::string_view name = text.substr(at, end - at + std::string_view("｜>").size());
      const auto id = tokenizer.find_token(name);
      check(id && tokenizer.is_added(*id), ErrorKind::invalid,
            "the tokenizer has neither a chat template nor the token {} of DeepSeek-V3's; name one with "
            "data.chat_template",
            name);
    }
  }
}

void DialogueWriter::State::finish(DialogueSample& sample) const {
  check(sample.n_trained() > 0, ErrorKind::invalid, "no token of it is trained");
  for (size_t i = 0; i < sample.ids.size(); ++i)
    if (sample.trained[i] && !tokenizer.is_added(sample.ids[i]))
      sample.trained_bytes += int64_t(tokenizer.token_bytes(sample.ids[i]).size());
}

// Nothing where an answer is written otherwise than it would be at the end.
std::optional<DialogueSample> DialogueWriter::State::sample_of(const RenderedDialogue& chat, Fragments whole,
                                                               int64_t last,
                                                               const std::vector<int64_t>& answers) const {
  std::vector<Place> places;
  for (const int64_t answer : answers) {
    const Fragments own = answer == last ? whole : chat.up_to_answer(answer);
    const int64_t length = int64_t(chat_text(own).size());
    if (bytes_in_common(own, whole) < length) return std::nullopt;
    places.push_back({answer, 0, length});
    if (!marks_answers(whole) && chat.thought(answer).empty()) continue;  // where it begins, its prompt will say
    places.back().begin = bytes_in_common(chat.first(answer, false), whole);
    mark_thought(whole, places.back().begin, length);
  }
  check_tokens(whole);
  DialogueSample sample;
  sample.ids = encode_chat(tokenizer, whole);
  sample.trained.assign(sample.ids.size(), 0);
  sample.n_answers = int64_t(answers.size());
  for (const Place& place : places) mark_answer(chat, whole, place, sample);
  finish(sample);
  return sample;
}

DialogueSample DialogueWriter::State::of_texts(const Json& dialogue, TrainOn train_on) const {
  const std::string prompt = dialogue["prompt"].get<std::string>(),
                    completion = dialogue["completion"].get<std::string>();
  check(tokenizer.eos_id().has_value(), ErrorKind::invalid, "the tokenizer has no token that ends a completion");
  DialogueSample sample;
  if ((add_bos || tokenizer.adds_bos()) && tokenizer.bos_id()) sample.ids.push_back(*tokenizer.bos_id());
  const size_t start = sample.ids.size();
  tokenizer.encode_to(prompt + completion, SpecialTokens::as_text, sample.ids);
  const std::vector<int32_t> before = tokenizer.encode(prompt);
  const bool fits = start + before.size() <= sample.ids.size() &&
                    std::equal(before.begin(), before.end(), sample.ids.begin() + int64_t(start));
  check(fits, ErrorKind::invalid, "a token crosses the border of prompt and completion, between {} and {}",
        quoted(prompt.substr(prompt.size() - std::min<size_t>(prompt.size(), 12))), quoted(completion.substr(0, 12)));
  sample.ids.push_back(*tokenizer.eos_id());
  sample.trained.assign(sample.ids.size(), train_on == TrainOn::all);
  std::fill(sample.trained.begin() + int64_t(start + before.size()), sample.trained.end(), 1);
  sample.n_answers = 1;
  finish(sample);
  return sample;
}

DialogueWriter::DialogueWriter(const Tokenizer& tokenizer, const std::string& wanted, bool add_bos) {
  const ChatFiles files = chat_files_of(tokenizer.files(), "the tokenizer");
  const NamedTemplate plain = choose(files, wanted, false), tools = choose(files, wanted, true);
  ChatFiles named = files;
  named.special_tokens = special_tokens(tokenizer, files);
  state_ = std::make_unique<State>(State{tokenizer, plain.source + (tools.source == plain.source ? "" : tools.source),
                                         plain.origin, plain.source == report_chat_template(), add_bos,
                                         parse_template_of(plain, named), parse_template_of(tools, named)});
}
DialogueWriter::~DialogueWriter() = default;

std::string DialogueWriter::hash() const { return sha256_hex(state_->source); }
std::string DialogueWriter::description() const {
  return state_->of_report ? "DeepSeek-V3's chat template" : "'" + state_->origin + "'";
}

std::vector<DialogueSample> DialogueWriter::samples(const std::string& dialogue, TrainOn train_on) const {
  const Json json = parse_json<Json>(dialogue, "a dialogue");
  if (!json.contains("messages")) return {state_->of_texts(json, train_on)};
  const RenderedDialogue chat(json.contains("tools") ? state_->with_tools : state_->plain, json);
  std::vector<int64_t> answers;
  for (int64_t i = 0; i < chat.n_messages(); ++i)
    if (chat.is_trained(i)) answers.push_back(i);
  check(!answers.empty(), ErrorKind::invalid, "no message of it is trained: its assistant's have the weight 0");
  if (train_on == TrainOn::last) answers.assign(1, answers.back());
  const bool ends_with_it = answers.back() + 1 == chat.n_messages();
  Fragments whole = ends_with_it ? chat.up_to_answer(answers.back()) : chat.first(chat.n_messages(), false);
  chat.check_written(chat_text(whole));
  if (train_on == TrainOn::all) {
    state_->check_tokens(whole);
    DialogueSample sample{encode_chat(state_->tokenizer, whole), {}, int64_t(answers.size())};
    sample.trained.assign(sample.ids.size(), 1);
    state_->finish(sample);
    return {std::move(sample)};
  }
  if (auto one = state_->sample_of(chat, std::move(whole), ends_with_it ? answers.back() : -1, answers))
    return {std::move(*one)};
  std::vector<DialogueSample> samples;
  for (const int64_t answer : answers) {
    auto one = state_->sample_of(chat, chat.up_to_answer(answer), answer, {answer});
    check(one.has_value(), ErrorKind::internal, "an answer is no beginning of itself");
    samples.push_back(std::move(*one));
  }
  return samples;
}

bool has_dialogues(const DataConfig& config) {
  return std::any_of(config.sources.begin(), config.sources.end(),
                     [](const SourceConfig& source) { return source.format != SourceFormat::text; });
}

std::unique_ptr<DialogueWriter> dialogue_writer(const Tokenizer& tokenizer, const DataConfig& config) {
  if (!has_dialogues(config)) return nullptr;
  return std::make_unique<DialogueWriter>(tokenizer, config.chat_template, config.add_bos);
}

Tokenizer with_chat_template(Tokenizer tokenizer, const DataConfig& config) {
  if (!has_dialogues(config)) return tokenizer;
  auto texts = tokenizer.files();
  const ChatFiles files = chat_files_of(texts, "the tokenizer");
  const bool named = names_a_file(files, config.chat_template);
  if (!named && !files.templates.empty()) return tokenizer;
  const std::string source = named ? read_file(config.chat_template) : std::string(report_chat_template());
  std::erase_if(texts, [](const auto& file) { return file.first == kTemplateFile; });
  texts.emplace_back(kTemplateFile, source);
  return Tokenizer::from_files(tokenizer_files_of(std::move(texts)));
}

}  // namespace hadal::data

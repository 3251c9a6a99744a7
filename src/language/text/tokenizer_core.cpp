#include "text/tokenizer_core.h"

#include <algorithm>

#include "base/error.h"
#include "text/tiktoken_model.h"

namespace hadal {

namespace {

TokenizerFile read_model(const TokenizerFiles& files, const TokenizerSettings& settings) {
  check(files.json || files.config, ErrorKind::not_found,
        "tiktoken.model needs the tokenizer_config.json that comes with it, which names its class and special tokens");
  TokenizerFile file =
      files.json ? read_tokenizer_json(*files.json) : read_tiktoken_model(files.tiktoken.value(), settings);
  apply_settings(settings, file);
  return file;
}

}  // namespace

TokenizerCore::TokenizerCore(TokenizerFiles from)
    : files(std::move(from)),
      settings(read_tokenizer_settings(files)),
      file(read_model(files, settings)),
      pre_tokenizer(file.splits),
      model(file.merges, file.byte_ids, file.equal_ranks) {
  flags.assign(file.tokens.size(), 0);
  for (const AddedToken& token : file.added) {
    flags[token.id] = uint8_t(kAdded | (token.special ? kSpecial : 0));
    check(added.emplace(token.content, token.id).second, ErrorKind::corrupt,
          "tokenizer.json: added token '{}' stands there twice", token.content);
    finders[token.normalized].add(token.content, token.id);
  }
  if (file.ignore_merges) {
    whole_words = TokenIndex(file.tokens.size());
    for (size_t id = 0; id < file.tokens.size(); ++id) {
      if (is_plain(id)) whole_words.add(file.tokens[id], int32_t(id));
    }
    model.set_whole_words(&whole_words);
  }
  auto named = [&](const char* key, std::string_view otherwise) {
    return find(settings.name(key).value_or(std::string(otherwise)));
  };
  const bool kimi = !files.json;  // the names that its class has where the files say nothing
  bos = named("bos_token", kimi ? "[BOS]" : kBosToken);
  eos = named("eos_token", kimi ? "[EOS]" : kEosToken);
  pad = named("pad_token", kPadToken);
  adds_bos = settings.add_bos.value_or(bos.has_value() && !file.before.empty() && file.before.front() == *bos);
  adds_eos = settings.add_eos.value_or(eos.has_value() && !file.after.empty() && file.after.back() == *eos);
  cut_places = cut_places_parsed = cut_places_of(file.splits);
  for (const AddedToken& token : file.added) {  // one that reaches over a line end must not be cut there
    if (token.lstrip || token.content.find('\n') != std::string::npos) cut_places_parsed = CutPlaces::none;
  }
}

std::unique_ptr<TokenizerCore::Scratch> TokenizerCore::take_scratch() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Scratch> scratch = std::move(idle_.back());
      idle_.pop_back();
      return scratch;
    }
  }
  return std::make_unique<Scratch>(pre_tokenizer);
}

void TokenizerCore::give_scratch(std::unique_ptr<Scratch> scratch) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(scratch));
}

void TokenizerCore::encode_text(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const {
  pre_tokenizer.split(text, scratch.match, [&](std::string_view word) { model.encode(word, scratch.bpe, ids); });
}

const AddedToken& TokenizerCore::added_token(int32_t id) const {
  return *std::lower_bound(file.added.begin(), file.added.end(), id,
                           [](const AddedToken& a, int32_t wanted) { return a.id < wanted; });
}

// Cuts at the added tokens of this finder, what lies between at those of the next, then encodes. As in Hugging Face the
// search goes on behind the token itself, also where its white space reaches further.
void TokenizerCore::encode_parsed(std::string_view text, int finder, Scratch& scratch,
                                  std::vector<int32_t>& ids) const {
  if (finder == 2) {
    encode_text(text, scratch, ids);
    return;
  }
  size_t done = 0, from = 0;
  while (from < text.size()) {
    const AddedTokenFinder::Found found = finders[finder].find(text, from);
    if (found.id < 0) break;
    from = found.end;
    const AddedToken& token = added_token(found.id);
    if (token.single_word && !stands_alone(text, found.begin, found.end)) continue;
    const size_t begin = token.lstrip ? std::max(done, white_space_begin(text, found.begin)) : found.begin;
    if (begin > done) encode_parsed(text.substr(done, begin - done), finder + 1, scratch, ids);
    ids.push_back(found.id);
    done = token.rstrip ? white_space_end(text, found.end) : found.end;
  }
  if (done < text.size()) encode_parsed(text.substr(done), finder + 1, scratch, ids);
}

// The same over the part [begin, end) of the text, for added tokens that lie wholly inside one of the ranges. Their
// white space may reach out of it.
void TokenizerCore::encode_marked(std::string_view text, std::span<const TextRange> ranges,
                                  std::pair<size_t, size_t> part, int finder, Scratch& scratch,
                                  std::vector<int32_t>& ids) const {
  if (finder == 2) {
    encode_text(text.substr(part.first, part.second - part.first), scratch, ids);
    return;
  }
  const std::string_view whole = text.substr(0, part.second);
  size_t done = part.first;
  const auto first =
      std::partition_point(ranges.begin(), ranges.end(), [&](const TextRange& range) { return range.end <= done; });
  for (auto range = first; range != ranges.end() && range->begin < part.second; ++range) {
    const std::string_view within = text.substr(0, std::min(range->end, part.second));
    for (size_t from = std::max(range->begin, done);;) {
      const AddedTokenFinder::Found found = finders[finder].find(within, from);
      if (found.id < 0) break;
      from = found.end;
      const AddedToken& token = added_token(found.id);
      if (token.single_word &&
          !stands_alone(whole.substr(part.first), found.begin - part.first, found.end - part.first))
        continue;
      const size_t begin = token.lstrip ? std::max(done, white_space_begin(text, found.begin)) : found.begin;
      if (begin > done) encode_marked(text, ranges, {done, begin}, finder + 1, scratch, ids);
      ids.push_back(found.id);
      done = token.rstrip ? white_space_end(whole, found.end) : found.end;
    }
  }
  if (done < part.second) encode_marked(text, ranges, {done, part.second}, finder + 1, scratch, ids);
}

std::optional<int32_t> TokenizerCore::find(std::string_view name) const {
  if (const auto found = added.find(name); found != added.end()) return found->second;
  for (size_t id = 0; id < file.tokens.size(); ++id) {  // seldom asked for: no table is kept for it
    if (file.tokens[id] == name && is_plain(id)) return int32_t(id);
  }
  return std::nullopt;
}

const std::unordered_map<int32_t, std::vector<int32_t>>& TokenizerCore::fused() const {
  std::call_once(fused_found_, [this] { find_fused(); });
  return fused_;
}

// Tokens that the report's third expression takes for punctuation with line ends behind it, and their two halves
// encoded.
void TokenizerCore::find_fused() const {
  const PreTokenizer punctuation({"[\\p{P}\\p{S}]+"});
  Scratch scratch(pre_tokenizer);
  PreTokenizer::Scratch match = punctuation.make_scratch();
  const auto first_word = [&](const std::string& text) {
    size_t size = 0;
    punctuation.split(text, match, [&](std::string_view word) { size = size ? size : word.size(); });
    return size;
  };
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    const std::string_view token = file.tokens[id];
    if (flags[id] != 0) continue;
    const size_t marks_end = token.find_last_not_of("\r\n") + 1;  // 0: line ends alone
    if (marks_end == 0 || marks_end == token.size()) continue;
    std::string_view marks = token.substr(0, marks_end);
    if (marks[0] == ' ') marks.remove_prefix(1);
    if (marks.empty() || marks.find_first_of("\r\n") != std::string_view::npos) continue;
    // one word alone, and cut from a letter in front of it: then all are marks
    if (first_word(std::string(marks)) != marks.size() || first_word("a" + std::string(marks)) != 1) continue;
    std::vector<int32_t>& parts = fused_[int32_t(id)];
    model.encode(token.substr(0, marks_end), scratch.bpe, parts);
    model.encode(token.substr(marks_end), scratch.bpe, parts);
  }
}

}  // namespace hadal

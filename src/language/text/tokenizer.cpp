#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/thread_pool.h"
#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/cut_places.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_json.h"

namespace hadal {
namespace {

// Working memory of one call of encode, kept between calls.
struct Scratch {
  explicit Scratch(const PreTokenizer& pre_tokenizer) : match(pre_tokenizer.make_scratch()) {}
  PreTokenizer::Scratch match;
  BpeScratch bpe;
};

}  // namespace

struct Tokenizer::State {
  State(std::string json, std::string config);

  std::string tokenizer_json, config_json;
  TokenizerFile file;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  std::unordered_map<std::string_view, int32_t> plain, added;  // ids by bytes; added tokens apart
  std::vector<uint8_t> flags;                                  // by id
  AddedTokenFinder finders[2];  // by AddedToken::normalized: those with false are found first
  std::optional<int32_t> bos, eos, pad;
  bool adds_bos = false;
  CutPlaces cut_places = CutPlaces::none, cut_places_parsed = CutPlaces::none;
  std::unordered_map<int32_t, std::vector<int32_t>> fused;

  static constexpr uint8_t kAdded = 1, kSpecial = 2;

  std::unique_ptr<Scratch> take_scratch();
  void give_scratch(std::unique_ptr<Scratch> scratch);
  void encode_text(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_parsed(std::string_view text, int finder, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_marked(std::string_view text, std::span<const TextRange> ranges, std::pair<size_t, size_t> part,
                     int finder, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_with(std::string_view text, SpecialTokens special, Scratch& scratch, std::vector<int32_t>& ids) const {
    if (special == SpecialTokens::as_text) {
      encode_text(text, scratch, ids);
    } else {
      encode_parsed(text, 0, scratch, ids);
    }
  }
  const AddedToken& added_token(int32_t id) const;
  std::optional<int32_t> find(std::string_view name) const;
  void find_fused();

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

Tokenizer::State::State(std::string json, std::string config)
    : tokenizer_json(std::move(json)),
      config_json(std::move(config)),
      file(read_tokenizer_json(tokenizer_json)),
      pre_tokenizer(file.splits),
      model(file.merges, file.byte_ids) {
  flags.assign(file.tokens.size(), 0);
  for (const AddedToken& token : file.added) {
    flags[token.id] = uint8_t(kAdded | (token.special ? kSpecial : 0));
    check(added.emplace(token.content, token.id).second, ErrorKind::corrupt,
          "tokenizer.json: added token '{}' stands there twice", token.content);
    finders[token.normalized].add(token.content, token.id);
  }
  plain.reserve(file.tokens.size());
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    if (!(flags[id] & kSpecial)) plain.emplace(file.tokens[id], int32_t(id));
  }
  if (file.ignore_merges) model.set_whole_pieces(&plain);
  TokenizerNames names;
  if (!config_json.empty()) names = read_tokenizer_config(config_json);
  auto named = [&](const std::optional<std::string>& name, std::string_view otherwise,
                   const char* what) -> std::optional<int32_t> {
    if (!name) return find(otherwise);
    const auto id = find(*name);
    check(id.has_value(), ErrorKind::corrupt,
          "tokenizer_config.json names the {} '{}', which is no token of tokenizer.json", what, *name);
    return id;
  };
  bos = named(names.bos, kBosToken, "bos_token");
  eos = named(names.eos, kEosToken, "eos_token");
  pad = named(names.pad, kPadToken, "pad_token");
  adds_bos = names.add_bos.value_or(bos.has_value() && !file.before.empty() && file.before.front() == *bos);
  cut_places = cut_places_parsed = cut_places_of(file.splits);
  for (const AddedToken& token : file.added) {  // one that reaches over a line end must not be cut there
    if (token.lstrip || token.content.find('\n') != std::string::npos) cut_places_parsed = CutPlaces::none;
  }
  find_fused();
}

std::unique_ptr<Scratch> Tokenizer::State::take_scratch() {
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

void Tokenizer::State::give_scratch(std::unique_ptr<Scratch> scratch) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(scratch));
}

void Tokenizer::State::encode_text(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const {
  pre_tokenizer.split(text, scratch.match, [&](std::string_view piece) { model.encode(piece, scratch.bpe, ids); });
}

const AddedToken& Tokenizer::State::added_token(int32_t id) const {
  return *std::lower_bound(file.added.begin(), file.added.end(), id,
                           [](const AddedToken& a, int32_t wanted) { return a.id < wanted; });
}

// Cuts at the added tokens of this finder, what lies between at those of the next, then encodes. As in Hugging Face the
// search goes on behind the token itself, also where its white space reaches further.
void Tokenizer::State::encode_parsed(std::string_view text, int finder, Scratch& scratch,
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
void Tokenizer::State::encode_marked(std::string_view text, std::span<const TextRange> ranges,
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

std::optional<int32_t> Tokenizer::State::find(std::string_view name) const {
  if (const auto found = added.find(name); found != added.end()) return found->second;
  if (const auto found = plain.find(name); found != plain.end()) return found->second;
  return std::nullopt;
}

// Tokens that the report's third expression takes for punctuation with line ends behind it, and their two halves
// encoded.
void Tokenizer::State::find_fused() {
  const PreTokenizer punctuation({"[\\p{P}\\p{S}]+"});
  Scratch scratch(pre_tokenizer);
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    const std::string_view token = file.tokens[id];
    if (flags[id] != 0) continue;
    const size_t marks_end = token.find_last_not_of("\r\n") + 1;  // 0: line ends alone
    if (marks_end == 0 || marks_end == token.size()) continue;
    std::string_view marks = token.substr(0, marks_end);
    if (marks[0] == ' ') marks.remove_prefix(1);
    if (marks.empty() || marks.find_first_of("\r\n") != std::string_view::npos) continue;
    const std::vector<std::string> pieces = punctuation.pieces(marks);
    const auto alone =
        punctuation.pieces(std::string("a") + std::string(marks));  // cut behind the a only if all are marks
    if (pieces.size() != 1 || alone.size() != 2 || alone[0] != "a") continue;
    std::vector<int32_t>& parts = fused[int32_t(id)];
    model.encode(token.substr(0, marks_end), scratch.bpe, parts);
    model.encode(token.substr(marks_end), scratch.bpe, parts);
  }
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::string& path) {
  namespace fs = std::filesystem;
  const bool directory = fs::is_directory(path);
  const fs::path file = directory ? fs::path(path) / "tokenizer.json" : fs::path(path);
  const fs::path config = file.parent_path() / "tokenizer_config.json";
  check(fs::exists(file), ErrorKind::not_found, "no tokenizer at '{}': {}", path,
        directory ? "the directory has no tokenizer.json" : "no such file or directory");
  try {
    return from_json_text(read_file(file), fs::exists(config) ? read_file(config) : "");
  } catch (const Error& e) {
    fail(e.kind(), "tokenizer '{}': {}", path, e.what());
  }
}

Tokenizer Tokenizer::from_json_text(std::string tokenizer_json, std::string config_json) {
  return Tokenizer(std::make_unique<State>(std::move(tokenizer_json), std::move(config_json)));
}

void Tokenizer::save(const std::string& directory) const {
  make_directories(directory);
  atomic_write(std::filesystem::path(directory) / "tokenizer.json", state_->tokenizer_json);
  const std::filesystem::path config = std::filesystem::path(directory) / "tokenizer_config.json";
  if (!state_->config_json.empty()) {
    atomic_write(config, state_->config_json);
  } else {
    std::filesystem::remove(config);  // another tokenizer's would rename our tokens
  }
}

std::vector<int32_t> Tokenizer::encode(std::string_view bytes, SpecialTokens special) const {
  std::vector<int32_t> ids;
  encode_to(bytes, special, ids);
  return ids;
}

void Tokenizer::encode_to(std::string_view bytes, SpecialTokens special, std::vector<int32_t>& ids) const {
  std::unique_ptr<Scratch> scratch = state_->take_scratch();
  state_->encode_with(bytes, special, *scratch, ids);
  state_->give_scratch(std::move(scratch));
}

// Texts are cut into parts and the parts shared out in tasks of about kTaskBytes.
std::vector<std::vector<int32_t>> Tokenizer::encode_all(std::span<const std::string_view> texts, SpecialTokens special,
                                                        ThreadPool& pool) const {
  constexpr size_t kTaskBytes = 64 << 10;
  struct Part {
    size_t text;
    std::string_view bytes;
    std::vector<int32_t> ids;  // of a text's second part and those behind it
    bool first;
  };
  const CutPlaces places = special == SpecialTokens::as_text ? state_->cut_places : state_->cut_places_parsed;
  std::vector<Part> parts;
  std::vector<size_t> tasks = {0};  // first part of each, then the end
  size_t bytes_in_task = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    std::string_view left = texts[i];
    do {
      const size_t size = part_before_cut(left, kTaskBytes, places);
      parts.push_back({i, left.substr(0, size), {}, left.data() == texts[i].data()});
      left.remove_prefix(size);
      bytes_in_task += size;
      if (bytes_in_task >= kTaskBytes) {
        tasks.push_back(parts.size());
        bytes_in_task = 0;
      }
    } while (!left.empty());
  }
  if (tasks.back() != parts.size()) tasks.push_back(parts.size());
  std::vector<std::vector<int32_t>> all(texts.size());
  pool.parallel_for(int64_t(tasks.size()) - 1, [&](int64_t task, int) {
    std::unique_ptr<Scratch> scratch = state_->take_scratch();
    for (size_t i = tasks[size_t(task)]; i < tasks[size_t(task) + 1]; ++i) {
      std::vector<int32_t>& ids = parts[i].first ? all[parts[i].text] : parts[i].ids;
      ids.reserve(parts[i].bytes.size() / 3 + 8);
      state_->encode_with(parts[i].bytes, special, *scratch, ids);
    }
    state_->give_scratch(std::move(scratch));
  });
  std::vector<size_t> cut;  // texts of several parts: their first
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    if (parts[i].first && !parts[i + 1].first) cut.push_back(i);
  }
  pool.parallel_for(int64_t(cut.size()), [&](int64_t index, int) {
    std::vector<int32_t>& ids = all[parts[cut[size_t(index)]].text];
    size_t size = ids.size(), end = cut[size_t(index)] + 1;
    for (; end < parts.size() && !parts[end].first; ++end) size += parts[end].ids.size();
    ids.reserve(size);
    for (size_t i = cut[size_t(index)] + 1; i < end; ++i)
      ids.insert(ids.end(), parts[i].ids.begin(), parts[i].ids.end());
  });
  return all;
}

std::vector<int32_t> Tokenizer::encode(std::string_view bytes, SpecialTokens special, ThreadPool& pool) const {
  return std::move(encode_all({&bytes, 1}, special, pool)[0]);
}

std::vector<int32_t> Tokenizer::encode_marked(std::string_view bytes, std::span<const TextRange> parsed) const {
  size_t end = 0;
  for (const TextRange& range : parsed) {
    check(range.begin >= end && range.end >= range.begin && range.end <= bytes.size(), ErrorKind::invalid,
          "the range {}..{} of a text of {} bytes is reversed, overlaps the one before or ends outside", range.begin,
          range.end, bytes.size());
    end = range.end;
  }
  std::vector<int32_t> ids;
  std::unique_ptr<Scratch> scratch = state_->take_scratch();
  state_->encode_marked(bytes, parsed, {0, bytes.size()}, 0, *scratch, ids);
  state_->give_scratch(std::move(scratch));
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  for (int32_t id : ids) {
    const std::string_view bytes = token_bytes(id);
    if (!(skip_special && is_special(id))) out += bytes;
  }
  return out;
}

int64_t Tokenizer::vocab_size() const { return int64_t(state_->file.tokens.size()); }
int64_t Tokenizer::n_merges() const { return int64_t(state_->file.merges.size()); }

std::string_view Tokenizer::token_bytes(int32_t id) const {
  check(id >= 0 && id < vocab_size(), ErrorKind::invalid, "token id {} is not in this tokenizer's range 0 .. {}", id,
        vocab_size() - 1);
  return state_->file.tokens[id];
}

std::optional<int32_t> Tokenizer::find_token(std::string_view name) const { return state_->find(name); }

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && (state_->flags[id] & State::kSpecial) != 0;
}
bool Tokenizer::is_added(int32_t id) const {
  return id >= 0 && id < vocab_size() && (state_->flags[id] & State::kAdded) != 0;
}
std::span<const AddedToken> Tokenizer::added_tokens() const { return state_->file.added; }

std::pair<int32_t, int32_t> Tokenizer::merge(int64_t rank) const {
  check(rank >= 0 && rank < n_merges(), ErrorKind::invalid, "merge {} is not in 0 .. {}", rank, n_merges() - 1);
  const Merge& merge = state_->file.merges[rank];
  return {merge.left, merge.right};
}

const std::vector<std::string>& Tokenizer::splits() const { return state_->file.splits; }

std::span<const int32_t> Tokenizer::template_before() const { return state_->file.before; }
std::span<const int32_t> Tokenizer::template_after() const { return state_->file.after; }
bool Tokenizer::adds_bos() const { return state_->adds_bos; }
std::optional<int32_t> Tokenizer::bos_id() const { return state_->bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return state_->eos; }
std::optional<int32_t> Tokenizer::pad_id() const { return state_->pad; }
std::optional<int32_t> Tokenizer::fim_begin_id() const { return state_->find(kFimBeginToken); }
std::optional<int32_t> Tokenizer::fim_hole_id() const { return state_->find(kFimHoleToken); }
std::optional<int32_t> Tokenizer::fim_end_id() const { return state_->find(kFimEndToken); }

std::span<const int32_t> Tokenizer::fused_parts(int32_t id) const {
  const auto found = state_->fused.find(id);
  if (found == state_->fused.end()) return {};
  return found->second;
}

std::string Tokenizer::content_hash() const {
  Sha256 hash;
  auto number = [&](int64_t value) { hash.update(&value, sizeof value); };
  auto text = [&](std::string_view value) {
    number(int64_t(value.size()));
    hash.update(value);
  };
  const TokenizerFile& file = state_->file;
  number(vocab_size());
  for (const std::string& token : file.tokens) text(token);
  number(n_merges());
  for (const Merge& merge : file.merges) {
    number(merge.left);
    number(merge.right);
  }
  number(int64_t(file.splits.size()));
  for (const std::string& split : file.splits) text(split);
  for (const AddedToken& token : file.added) number(int64_t(token.id) * 4 + token.special * 2 + token.normalized);
  number(file.ignore_merges);
  for (const AddedToken& token : file.added) {  // rare flags: hashes of files without them stay as they were
    const int64_t rare = token.single_word * 4 + token.lstrip * 2 + token.rstrip;
    if (rare != 0) number(int64_t(token.id) * 8 + rare);
  }
  return hash.hex();
}

}  // namespace hadal

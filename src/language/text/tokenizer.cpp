#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/thread_pool.h"
#include "text/tokenizer_core.h"

namespace hadal {

Tokenizer::Tokenizer(std::unique_ptr<TokenizerCore> core) : core_(std::move(core)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::string& path) {
  TokenizerFiles files = read_tokenizer_files(path);
  try {
    return from_files(std::move(files));
  } catch (const Error& e) {
    fail(e.kind(), "tokenizer '{}': {}", path, e.what());
  }
}

bool Tokenizer::is_in(const std::string& directory) { return holds_tokenizer(directory); }

Tokenizer Tokenizer::from_files(TokenizerFiles files) {
  return Tokenizer(std::make_unique<TokenizerCore>(std::move(files)));
}

Tokenizer Tokenizer::from_json_text(std::string tokenizer_json, std::string config_json) {
  TokenizerFiles files;
  files.json = std::move(tokenizer_json);
  if (!config_json.empty()) files.config = std::move(config_json);
  return from_files(std::move(files));
}

void Tokenizer::save(const std::string& directory) const {
  make_directories(directory);
  const auto files = core_->files.by_name();
  for (const auto& [name, text] : files) {
    const auto path = std::filesystem::path(directory) / name;
    make_directories(path.parent_path());
    atomic_write(path, text);
  }
  for (const std::string& name : tokenizer_file_names(directory)) {  // another tokenizer's would change ours
    const auto same = [&](const auto& file) { return file.first == name; };
    if (std::none_of(files.begin(), files.end(), same))
      std::filesystem::remove(std::filesystem::path(directory) / name);
  }
}

std::vector<std::pair<std::string, std::string>> Tokenizer::files() const { return core_->files.by_name(); }

std::vector<int32_t> Tokenizer::encode(std::string_view bytes, SpecialTokens special) const {
  std::vector<int32_t> ids;
  encode_to(bytes, special, ids);
  return ids;
}

void Tokenizer::encode_to(std::string_view bytes, SpecialTokens special, std::vector<int32_t>& ids) const {
  std::unique_ptr<TokenizerCore::Scratch> scratch = core_->take_scratch();
  core_->encode_with(bytes, special, *scratch, ids);
  core_->give_scratch(std::move(scratch));
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
  const CutPlaces places = special == SpecialTokens::as_text ? core_->cut_places : core_->cut_places_parsed;
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
    std::unique_ptr<TokenizerCore::Scratch> scratch = core_->take_scratch();
    for (size_t i = tasks[size_t(task)]; i < tasks[size_t(task) + 1]; ++i) {
      std::vector<int32_t>& ids = parts[i].first ? all[parts[i].text] : parts[i].ids;
      ids.reserve(parts[i].bytes.size() / 3 + 8);
      core_->encode_with(parts[i].bytes, special, *scratch, ids);
    }
    core_->give_scratch(std::move(scratch));
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
  std::unique_ptr<TokenizerCore::Scratch> scratch = core_->take_scratch();
  core_->encode_marked(bytes, parsed, {0, bytes.size()}, 0, *scratch, ids);
  core_->give_scratch(std::move(scratch));
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

int64_t Tokenizer::vocab_size() const { return int64_t(core_->file.tokens.size()); }
int64_t Tokenizer::rows_needed() const { return vocab_size() - core_->file.n_unnamed; }
int64_t Tokenizer::n_merges() const { return int64_t(core_->file.merges.size()); }

std::string_view Tokenizer::token_bytes(int32_t id) const {
  check(id >= 0 && id < vocab_size(), ErrorKind::invalid, "token id {} is not in this tokenizer's range 0 .. {}", id,
        vocab_size() - 1);
  return core_->file.tokens[id];
}

std::optional<int32_t> Tokenizer::find_token(std::string_view name) const { return core_->find(name); }

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && (core_->flags[id] & TokenizerCore::kSpecial) != 0;
}
bool Tokenizer::is_added(int32_t id) const {
  return id >= 0 && id < vocab_size() && (core_->flags[id] & TokenizerCore::kAdded) != 0;
}
std::span<const AddedToken> Tokenizer::added_tokens() const { return core_->file.added; }

std::pair<int32_t, int32_t> Tokenizer::merge(int64_t rank) const {
  check(rank >= 0 && rank < n_merges(), ErrorKind::invalid, "merge {} is not in 0 .. {}", rank, n_merges() - 1);
  const Merge& merge = core_->file.merges[rank];
  return {merge.left, merge.right};
}

const std::vector<std::string>& Tokenizer::splits() const { return core_->file.splits; }

std::span<const int32_t> Tokenizer::template_before() const { return core_->file.before; }
std::span<const int32_t> Tokenizer::template_after() const { return core_->file.after; }
bool Tokenizer::adds_bos() const { return core_->adds_bos; }
bool Tokenizer::adds_eos() const { return core_->adds_eos; }
std::optional<int32_t> Tokenizer::bos_id() const { return core_->bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return core_->eos; }
std::optional<int32_t> Tokenizer::pad_id() const { return core_->pad; }
std::optional<int32_t> Tokenizer::fim_begin_id() const { return core_->find(kFimBeginToken); }
std::optional<int32_t> Tokenizer::fim_hole_id() const { return core_->find(kFimHoleToken); }
std::optional<int32_t> Tokenizer::fim_end_id() const { return core_->find(kFimEndToken); }

std::span<const int32_t> Tokenizer::fused_parts(int32_t id) const {
  const auto found = core_->fused().find(id);
  if (found == core_->fused().end()) return {};
  return found->second;
}

std::string Tokenizer::content_hash() const {
  Sha256 hash;
  auto number = [&](int64_t value) { hash.update(&value, sizeof value); };
  auto text = [&](std::string_view value) {
    number(int64_t(value.size()));
    hash.update(value);
  };
  const TokenizerFile& file = core_->file;
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
  number(file.ignore_merges + 2 * file.equal_ranks);
  for (const AddedToken& token : file.added) {  // rare flags: hashes of files without them stay as they were
    const int64_t rare = token.single_word * 4 + token.lstrip * 2 + token.rstrip;
    if (rare != 0) number(int64_t(token.id) * 8 + rare);
  }
  return hash.hex();
}

}  // namespace hadal

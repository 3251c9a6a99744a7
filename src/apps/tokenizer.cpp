// hadal tokenizer encode | decode | info; train stands in tokenizer_train.cpp.
#include <atomic>
#include <cstdio>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/tokenizer_train.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/json_members.h"
#include "base/table.h"
#include "base/text_format.h"
#include "base/text_mark.h"
#include "data/document_reader.h"
#include "text/text_kinds.h"
#include "text/tokenizer.h"

namespace hadal {
namespace {

using Json = nlohmann::json;

// ---- standard input and output ----

class Input {
 public:
  std::string all() {
    std::string text;
    while (fill()) text += buffer_;
    return text;
  }
  bool line(std::string& out) {
    out.clear();
    while (true) {
      const size_t end = buffer_.find('\n', at_);
      out.append(buffer_, at_, end == std::string::npos ? std::string::npos : end - at_);
      if (end != std::string::npos) {
        at_ = end + 1;
        return true;
      }
      if (!fill()) {
        at_ = buffer_.size();
        return !out.empty();
      }
      at_ = 0;
    }
  }

 private:
  bool fill() {
    buffer_.resize(1 << 20);
    const size_t got = std::fread(buffer_.data(), 1, buffer_.size(), stdin);
    check(!std::ferror(stdin), ErrorKind::io, "cannot read standard input");
    buffer_.resize(got);
    return got > 0;
  }
  std::string buffer_;
  size_t at_ = 0;
};

bool written(std::string_view text) { return std::fwrite(text.data(), 1, text.size(), stdout) == text.size(); }

void print(std::string_view text) { check(written(text), ErrorKind::io, "cannot write standard output"); }

bool blank(const std::string& line) { return line.find_first_not_of(" \t\r") == std::string::npos; }

std::string ids_as_json(const std::vector<int32_t>& ids) { return fmt::format("[{}]\n", fmt::join(ids, ",")); }

std::vector<int32_t> ids_from_json(const std::string& text, const std::string& where, const Tokenizer& tokenizer) {
  const Json json = parse_json(text, where, {.levels = 16});
  check(json.is_array(), ErrorKind::corrupt, "{} is not a JSON array of token ids", where);
  std::vector<int32_t> ids;
  for (const Json& value : json) {
    const bool fits = value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() <= INT32_MAX;
    check(fits, ErrorKind::corrupt, "{} holds {}, which is no token id", where, json_text(value));
    check(value.get<int64_t>() < tokenizer.vocab_size(), ErrorKind::invalid,
          "{}: token id {} is not in this tokenizer's range 0 .. {}", where, json_text(value),
          tokenizer.vocab_size() - 1);
    ids.push_back(value.get<int32_t>());
  }
  return ids;
}

// Lines in, lines out in the same order, a batch at a time on all threads; blank ones are passed over. What stands
// before a line that convert() throws at is printed before its error ends the work, and so is what was read before an
// interrupt.
template <class Convert>
void convert_lines(ThreadPool& pool, const Convert& convert) {
  Input input;
  int64_t number = 0;
  std::vector<std::string> lines, results;
  std::vector<std::exception_ptr> errors;
  bool more = true;
  while (more && !interrupted()) {
    lines.clear();
    size_t bytes = 0;
    for (std::string line; bytes < (4 << 20) && (more = input.line(line));) {
      if (number == 0 && lines.empty()) line = std::string(behind_mark(line, "the input"));
      bytes += line.size() + 1;
      lines.push_back(std::move(line));
    }
    const CleanStop polled("stopping after these lines");
    results.assign(lines.size(), "");
    errors.assign(lines.size(), nullptr);
    pool.parallel_for(int64_t(lines.size()), [&](int64_t i, int) {
      try {
        if (!blank(lines[i])) results[i] = convert(lines[i], fmt::format("line {} of the input", number + i + 1));
      } catch (const Error&) {
        errors[i] = std::current_exception();
      }
    });
    for (size_t i = 0; i < lines.size(); ++i) {
      if (errors[i]) std::rethrow_exception(errors[i]);
      const bool last = i + 1 == lines.size();  // flushed: a signal may end the next wait
      check(written(results[i]) && (!last || std::fflush(stdout) == 0), ErrorKind::io,
            "cannot write standard output, at the latest for line {} of the input", number + int64_t(i) + 1);
    }
    number += int64_t(lines.size());
  }
  check(!more, ErrorKind::io, "interrupted after line {} of the input", number);
}

// ---- encode, decode ----

struct CodecOptions {
  std::string tokenizer;
  bool jsonl = false, special = false;
  CommonOptions common;
};

int encode(const CodecOptions& options) {
  const Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
  const SpecialTokens special = options.special ? SpecialTokens::parse : SpecialTokens::as_text;
  ThreadPool pool(options.common.threads);
  if (!options.jsonl) {
    print(ids_as_json(tokenizer.encode(Input().all(), special, pool)));
    return kExitFine;
  }
  std::atomic<int64_t> replaced{0};
  convert_lines(pool, [&](const std::string& line, const std::string& where) {
    std::string_view value;
    const JsonFault fault = read_json_members(line, value);
    check(!fault, ErrorKind::corrupt, "{}: not valid JSON ({})", where, fault.text());
    check(value.starts_with('"'), ErrorKind::corrupt, "{} is not a JSON string", where);
    std::string text;
    replaced += json_string(value, text);
    return ids_as_json(tokenizer.encode(text, special));
  });
  if (replaced > 0) {
    print_notes({fmt::format("{} escapes of lone surrogates became U+FFFD", replaced.load())}, options.common.quiet);
  }
  return kExitFine;
}

int decode(const CodecOptions& options) {
  const Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
  if (!options.jsonl) {
    print(tokenizer.decode(ids_from_json(Input().all(), "the input", tokenizer), options.special));
    return kExitFine;
  }
  ThreadPool pool(options.common.threads);
  convert_lines(pool, [&](const std::string& line, const std::string& where) {
    const Json text = tokenizer.decode(ids_from_json(line, where, tokenizer), options.special);
    return json_text(text, {.lossy = true}) + "\n";
  });
  return kExitFine;
}

// ---- info ----

struct InfoOptions {
  std::string tokenizer, text;
  bool json = false;
};

std::vector<KindCount> measure(const Tokenizer& tokenizer, const std::string& file) {
  std::vector<KindCount> rows;
  if (file.empty()) {
    for (const TextSample& sample : text_samples()) rows.push_back(measure_sample(tokenizer, sample));
    return rows;
  }
  data::DocumentReader reader(file, {.named = true});
  check(reader.not_text().empty(), ErrorKind::invalid, "{}", reader.refusal());
  std::string text;
  for (std::string document; reader.next(document);) text += document;
  for (const std::string& note : reader.notes()) print_notes({fmt::format("'{}' {}", file, note)}, false);
  check(!text.empty(), ErrorKind::invalid, "'{}' is empty: there is nothing to measure", file);
  rows = measure_text(tokenizer, text);
  KindCount all{"all", 0, 0, 0};
  for (const KindCount& row : rows) {
    all.bytes += row.bytes;
    all.characters += row.characters;
    all.tokens += row.tokens;
  }
  rows.push_back(all);
  return rows;
}

void print_info_json(const Tokenizer& tokenizer, const std::vector<KindCount>& rows) {
  nlohmann::ordered_json json;
  json["vocab_size"] = tokenizer.vocab_size();
  json["merges"] = tokenizer.n_merges();
  json["hash"] = tokenizer.content_hash();
  json["splits"] = tokenizer.splits();
  for (const AddedToken& token : tokenizer.added_tokens()) {
    json["added_tokens"].push_back({{"id", token.id}, {"content", token.content}, {"special", token.special}});
  }
  auto name = [&](const char* key, std::optional<int32_t> id) {
    json[key] = id ? nlohmann::ordered_json(*id) : nullptr;
  };
  name("bos_id", tokenizer.bos_id());
  name("eos_id", tokenizer.eos_id());
  name("pad_id", tokenizer.pad_id());
  for (const KindCount& row : rows) {
    json["text"].push_back(
        {{"kind", row.name}, {"bytes", row.bytes}, {"characters", row.characters}, {"tokens", row.tokens}});
  }
  fmt::print("{}\n", json_text(json, {.indent = 2}));
}

std::string role_of(const Tokenizer& tokenizer, int32_t id) {
  std::vector<std::string> roles;
  if (tokenizer.bos_id() == id) roles.push_back("BOS");
  if (tokenizer.eos_id() == id) roles.push_back("EOS");
  if (tokenizer.pad_id() == id) roles.push_back("PAD");
  if (tokenizer.fim_begin_id() == id || tokenizer.fim_hole_id() == id || tokenizer.fim_end_id() == id)
    roles.push_back("FIM");
  return fmt::format("{}", fmt::join(roles, ", "));
}

int info(const InfoOptions& options) {
  const Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
  const std::vector<KindCount> rows = measure(tokenizer, options.text);
  if (options.json) {
    print_info_json(tokenizer, rows);
    return kExitFine;
  }
  fmt::print("vocabulary    {}\nmerges        {}\nadded tokens  {}\nhash          {}\n",
             format_count(tokenizer.vocab_size()), format_count(tokenizer.n_merges()), tokenizer.added_tokens().size(),
             tokenizer.content_hash());
  for (const std::string& split : tokenizer.splits()) fmt::print("split         {}\n", json_text(Json(split)));
  constexpr size_t kMostShown = 40;
  Table added({"id", "added token", "special", "use"});
  size_t shown = 0;
  for (const AddedToken& token : tokenizer.added_tokens()) {
    const std::string role = role_of(tokenizer, token.id);
    if (shown >= kMostShown && role.empty()) continue;
    added.add({fmt::format("{}", token.id), token.content, token.special ? "yes" : "no", role});
    ++shown;
  }
  fmt::print("\n{}", added.text());
  if (shown < tokenizer.added_tokens().size()) {
    fmt::print("and {} more (--json lists all)\n", tokenizer.added_tokens().size() - shown);
  }
  Table table({options.text.empty() ? "built-in sample" : "kind of text", "bytes", "tokens", "bytes/token",
               "characters/token"});
  for (const KindCount& row : rows) {
    if (row.name == "all") table.add_rule();
    table.add({row.name, format_count(row.bytes), format_count(row.tokens),
               fmt::format("{:.2f}", double(row.bytes) / row.tokens),
               fmt::format("{:.2f}", double(row.characters) / row.tokens)});
  }
  fmt::print("\n{}", table.text());
  return kExitFine;
}

// ---- the verbs ----

void add_codec(Verb verb, Cli& cli, bool encoding) {
  auto o = std::make_shared<CodecOptions>();
  Verb sub = encoding
                 ? verb.add_verb("encode", "Standard input as one text -> a JSON array of token ids")
                 : verb.add_verb("decode", "A JSON array of token ids from standard input -> the bytes it stands for");
  sub.add_option("--tokenizer,-t", o->tokenizer, "a directory with tokenizer.json or tiktoken.model, or one of these")
      .required();
  add_threads_option(sub, o->common);
  if (encoding) {
    add_quiet_option(sub, o->common);
    sub.add_flag("--jsonl", o->jsonl, "one JSON string per line in, one array per line out");
    sub.add_flag("--parse-special", o->special,
                 "text that spells an added token becomes that token (off: it is plain text)");
    sub.add_examples({"hadal tokenizer encode --tokenizer tok < book.txt > ids.json",
                      "echo '\"Hello, world\"' | hadal tokenizer encode --tokenizer tok --jsonl"});
    cli.on(sub, [o] { return encode(*o); });
  } else {
    sub.add_flag("--jsonl", o->jsonl,
                 "one array per line in, one JSON string per line out (bytes outside UTF-8 become U+FFFD)");
    sub.add_flag("--skip-special", o->special, "leave out tokens that are flagged special");
    sub.add_examples({"hadal tokenizer decode --tokenizer tok < ids.json > book.txt",
                      "echo '[314,42]' | hadal tokenizer decode --tokenizer tok --jsonl"});
    cli.on(sub, [o] { return decode(*o); });
  }
}

void add_info(Verb verb, Cli& cli) {
  auto o = std::make_shared<InfoOptions>();
  Verb sub = verb.add_verb("info", "Vocabulary, merges, added tokens, and bytes per token by script and kind of text");
  sub.add_option("--tokenizer,-t", o->tokenizer, "a directory with tokenizer.json or tiktoken.model, or one of these")
      .required();
  sub.add_option("--text", o->text, "measure this file instead of the built-in samples");
  sub.add_flag("--json", o->json, "print one JSON object");
  sub.add_examples({"hadal tokenizer info --tokenizer tok", "hadal tokenizer info --tokenizer tok --text book.txt"});
  cli.on(sub, [o] { return info(*o); });
}

}  // namespace

void add_tokenizer(Verb root, Cli& cli) {
  Verb verb = root.add_verb("tokenizer", "Train a tokenizer, encode, decode, look into one");
  verb.require_verb();
  add_tokenizer_train(verb, cli);
  add_codec(verb, cli, true);
  add_codec(verb, cli, false);
  add_info(verb, cli);
}

}  // namespace hadal

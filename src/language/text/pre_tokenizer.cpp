#include "text/pre_tokenizer.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "base/error.h"
#include "base/utf8.h"
#include "text/character_kinds.h"
#include "text/pcre2_owned.h"
#include "text/report_scanner.h"
#include "text/split_pattern.h"

namespace hadal {
namespace {

struct CompileContextDeleter {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct MatchContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct JitStackDeleter {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

// Steps that one match may take beyond four per byte of its subject. A pattern that backtracks exponentially meets this
// within a second or so; a long run of blanks does not.
constexpr uint32_t kMatchSteps = 20'000'000;
constexpr size_t kJitStackStart = 32 << 10, kJitStackMost = 16 << 20;

std::string error_text(int code) {
  char text[256];
  pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof text);
  return text;
}

std::string shortened(const std::string& text) { return text.size() <= 120 ? text : text.substr(0, 117) + "..."; }

}  // namespace

struct PreTokenizer::Compiled {
  struct Split {
    std::unique_ptr<pcre2_code, CodeDeleter> code;
    bool jit = false;
  };
  static Split compile(const std::string& expression, bool with_additions);
  // With PCRE2's own tables, or with the characters too that those lack: slower, so only for text that may hold one.
  const std::vector<Split>& splits(bool with_additions) {
    Made& made = made_[with_additions];
    std::call_once(made.once, [&] {
      for (const std::string& expression : expressions) made.splits.push_back(compile(expression, with_additions));
    });
    return made.splits;
  }

  std::vector<std::string> expressions;
  const CharacterKinds* kinds = nullptr;  // if the expressions are the report's: no regular expression is run

 private:
  struct Made {
    std::vector<Split> splits;
    std::once_flag once;
  };
  Made made_[2];
};

struct PreTokenizer::Scratch::State {
  std::unique_ptr<pcre2_match_data, MatchDataDeleter> data;
  std::unique_ptr<pcre2_match_context, MatchContextDeleter> context;
  std::unique_ptr<pcre2_jit_stack, JitStackDeleter> stack;
  uint32_t match_limit = 0;
};

PreTokenizer::Scratch::Scratch() : state_(std::make_unique<State>()) {
  state_->data.reset(pcre2_match_data_create(1, nullptr));
  state_->context.reset(pcre2_match_context_create(nullptr));
  check(state_->data && state_->context, ErrorKind::internal, "no memory for a regular expression's match data");
  state_->stack.reset(pcre2_jit_stack_create(kJitStackStart, kJitStackMost, nullptr));
  if (state_->stack) pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
}
PreTokenizer::Scratch::~Scratch() = default;
PreTokenizer::Scratch::Scratch(Scratch&&) noexcept = default;

const std::vector<std::string>& PreTokenizer::default_splits() {
  static const std::vector<std::string> splits = {
      "\\p{N}{1,3}",
      "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
      "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
      "| ?[\\p{P}\\p{S}]+[\r\n]*"
      "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
  };
  return splits;
}

const std::string& PreTokenizer::gpt2_split() {
  static const std::string split = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
  return split;
}

PreTokenizer::Compiled::Split PreTokenizer::Compiled::compile(const std::string& expression, bool with_additions) {
  const std::unique_ptr<pcre2_compile_context, CompileContextDeleter> context(pcre2_compile_context_create(nullptr));
  check(context != nullptr, ErrorKind::internal, "no memory to compile a regular expression");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);  // as Oniguruma has it; ^ and $ are borders of lines there
  pcre2_set_parens_nest_limit(context.get(), 100);
  const std::string pattern = split_pattern_for_pcre2(expression, pcre2_unicode_major(), with_additions);
  int error = 0;
  PCRE2_SIZE place = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE, &error, &place, context.get());
  check(code != nullptr, ErrorKind::invalid, "split expression '{}' cannot be compiled: {} (at byte {} of '{}')",
        shortened(expression), error_text(error), size_t(place), shortened(pattern));
  Split split;
  split.code.reset(code);
  split.jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
  return split;
}

PreTokenizer::PreTokenizer(std::vector<std::string> splits) : compiled_(std::make_unique<Compiled>()) {
  if (splits == default_splits()) compiled_->kinds = &character_kinds();
  compiled_->expressions = std::move(splits);
  if (compiled_->kinds == nullptr) compiled_->splits(false);  // refuses what is wrong
}
PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

const std::vector<std::string>& PreTokenizer::splits() const { return compiled_->expressions; }
PreTokenizer::Scratch PreTokenizer::make_scratch() const { return Scratch(); }

namespace {

struct Walk {
  const PreTokenizer* owner;
  pcre2_match_data* data;
  pcre2_match_context* context;
  void (*emit)(void*, const char*, size_t);
  void* emit_context;
};

struct Found {
  size_t begin = 0, end = 0;
  bool any = false;
};

// The first match at or after `from`. JIT runs it unless its stack is too small, then the interpreter does.
Found find(const pcre2_code* code, bool jit, const Walk& walk, std::string_view subject, size_t from) {
  const auto text = reinterpret_cast<PCRE2_SPTR>(subject.data());
  int rc = jit ? pcre2_jit_match(code, text, subject.size(), from, PCRE2_NO_UTF_CHECK, walk.data, walk.context)
               : PCRE2_ERROR_JIT_STACKLIMIT;
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    rc = pcre2_match(code, text, subject.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, walk.data, walk.context);
  }
  if (rc == PCRE2_ERROR_NOMATCH) return {};
  check(rc >= 0, ErrorKind::invalid,
        "a split expression of the tokenizer fails on this text (byte {} of a piece of {}): {}", from, subject.size(),
        error_text(rc));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(walk.data);
  check(bounds[0] <= bounds[1], ErrorKind::invalid, "a split expression of the tokenizer matches backwards (\\K)");
  return {bounds[0], bounds[1], true};
}

template <class Split>
void cut(const std::vector<Split>& splits, size_t level, const Walk& walk, std::string_view subject) {
  if (level == splits.size()) {
    walk.emit(walk.emit_context, subject.data(), subject.size());
    return;
  }
  size_t done = 0, from = 0;
  while (from < subject.size()) {
    const Found found = find(splits[level].code.get(), splits[level].jit, walk, subject, from);
    if (!found.any) break;
    if (found.begin > done) cut(splits, level + 1, walk, subject.substr(done, found.begin - done));
    if (found.end > found.begin) cut(splits, level + 1, walk, subject.substr(found.begin, found.end - found.begin));
    done = from = found.end;
    if (found.end == found.begin &&
        from < subject.size()) {  // an empty match cuts, then the search goes on behind a character
      from += utf8_length(subject.data() + from, subject.data() + subject.size());
    }
  }
  if (done < subject.size()) cut(splits, level + 1, walk, subject.substr(done));
}

}  // namespace

void PreTokenizer::run(std::string_view text, Scratch& scratch, Emit emit, void* context) const {
  Scratch::State& state = *scratch.state_;
  const Walk walk{this, state.data.get(), state.context.get(), emit, context};
  const auto limit = uint32_t(std::min<uint64_t>(kMatchSteps + 4 * uint64_t(text.size()), UINT32_MAX));
  if (limit != state.match_limit) {
    pcre2_set_match_limit(walk.context, limit);
    state.match_limit = limit;
  }
  while (!text.empty()) {
    const auto valid = size_t(utf8_valid_prefix(text));
    const std::string_view run = text.substr(0, valid);
    if (compiled_->kinds != nullptr) {
      scan_report_words(run, *compiled_->kinds, emit, context);
    } else if (valid > 0) {
      cut(compiled_->splits(may_hold_unicode_addition(run)), 0, walk, run);
    }
    if (valid < text.size()) emit(context, text.data() + valid, 1);
    text.remove_prefix(std::min(text.size(), valid + 1));
  }
}

std::vector<std::string> PreTokenizer::words(std::string_view text) const {
  std::vector<std::string> out;
  Scratch scratch = make_scratch();
  split(text, scratch, [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

}  // namespace hadal

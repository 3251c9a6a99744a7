#include "grammar/grammars.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {
namespace {

constexpr size_t kMostKept = 64;
constexpr int64_t kMostKeptBytes = 256 << 20;

// An added token is no text (formats.h): it stands there as bytes that no text has.
TokenTable table_of(const Tokenizer& tokenizer) {
  TokenTable table(size_t(tokenizer.vocab_size()));
  for (size_t id = 0; id < table.size(); ++id) {
    table[id] = tokenizer.token_bytes(int32_t(id));
    if (tokenizer.is_added(int32_t(id))) table[id] = "\xFF" + table[id];
  }
  return table;
}

}  // namespace

Grammars::Grammars(const Tokenizer& tokenizer, const GrammarLimits& limits) : tokenizer_(tokenizer), limits_(limits) {}

std::shared_ptr<const Constraint> Grammars::kept(const std::string& format) {
  check(why_no_grammars().empty(), ErrorKind::unsupported, "{}", why_no_grammars());
  const std::lock_guard lock(mutex_);
  const auto at = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& one) { return one.format == format; });
  if (at == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, at);
  check(at->refusal.empty(), ErrorKind::invalid, "{}", at->refusal);
  return at->constraint;
}

std::shared_ptr<const Constraint> Grammars::constraint(const std::string& format) {
  const std::lock_guard compiling(compiling_);
  if (auto known = kept(format)) return known;
  keep(compile(format));
  return kept(format);
}

void Grammars::keep(Kept one) {
  const std::lock_guard lock(mutex_);
  kept_.push_front(std::move(one));
  int64_t bytes = 0;
  for (const Kept& each : kept_) bytes += each.bytes;
  while (kept_.size() > 1 && (kept_.size() > kMostKept || bytes > kMostKeptBytes)) {
    bytes -= kept_.back().bytes;
    kept_.pop_back();
  }
}

Grammars::Kept Grammars::compile(const std::string& format) {
  if (!tokens_) {
    table_ = table_of(tokenizer_);
    tokens_ = grammar_tokens(table_);
  }
  Kept kept{format, "", nullptr, int64_t(format.size())};
  try {
    const std::string compiled = compile_in_child(table_, format, limits_);
    GrammarConstraint made = constraint_of(tokens_, compiled, {limits_.text_seconds, limits_.token_seconds});
    kept.constraint = std::move(made.constraint);
    kept.bytes += made.bytes;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid) throw;
    kept.refusal = error.what();
  }
  return kept;
}

}  // namespace hadal

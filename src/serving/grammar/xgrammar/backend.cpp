// XGrammar: a format becomes a grammar, the grammar masks of tokens for each of its states; a matcher follows a text
// through it (an Earley parser over bytes).
#include "grammar/backend.h"

#include <time.h>
#include <xgrammar/xgrammar.h>

#include <algorithm>
#include <span>

#include "base/error.h"
#include "grammar/xgrammar/log.h"
#include "grammar/xgrammar/satisfiable.h"

namespace hadal {

struct GrammarTokens {
  xgrammar::TokenizerInfo info;
};

namespace {

// No stop ids: the engine knows them.
xgrammar::TokenizerInfo info_of(const TokenTable& tokens) {
  return xgrammar::TokenizerInfo(tokens, xgrammar::VocabType::RAW, std::nullopt, std::vector<int32_t>());
}

template <class Problem>
std::string message_of(const Problem& problem) {
  return std::visit([](const auto& one) { return std::string(one.what()); }, problem);
}

double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

// What the library throws, as an error of the request that asked for the grammar.
template <class Call>
auto of_request(const char* what, Call call) {
  try {
    return call();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    fail(ErrorKind::invalid, "{}: {}", what, error.what());
  }
}

class XgrammarText : public ConstrainedText {
 public:
  XgrammarText(const xgrammar::CompiledGrammar& compiled, int64_t vocabulary, const FollowLimits& limits)
      : matcher_(compiled), bits_(size_t((vocabulary + 31) / 32)), vocabulary_(vocabulary), limits_(limits) {}

  std::span<const uint32_t> allowed() override {
    if (!fresh_) timed([&] { fill(); });
    fresh_ = true;
    return bits_;
  }
  bool may_end() const override { return matcher_.IsCompleted(); }
  void accept(int32_t id) override {
    fresh_ = false;
    ++written_;
    timed([&] {
      check(matcher_.AcceptToken(id), ErrorKind::internal, "the grammar does not allow token {} that was drawn", id);
    });
  }

 private:
  // A grammar may have ever more readings of a text, and a step waits for all its texts: one that takes more than its
  // share ends, not its neighbours.
  template <class Call>
  void timed(Call call) {
    const double start = thread_seconds();
    of_request("the constraint", call);
    spent_ += thread_seconds() - start;
    const double most = limits_.seconds + limits_.seconds_a_token * double(written_);
    check(
        spent_ <= most, ErrorKind::invalid,
        "following the constraint took {:.2f} s of computing for {} tokens, more than {:.2f}; make it simpler or less "
        "ambiguous",
        spent_, written_, most);
  }
  void fill() {
    int64_t words = int64_t(bits_.size());
    DLTensor row{};
    row.data = bits_.data();
    row.device = {kDLCPU, 0};
    row.ndim = 1;
    row.dtype = xgrammar::GetBitmaskDLType();
    row.shape = &words;
    std::fill(bits_.begin(), bits_.end(), ~0U);
    matcher_.FillNextTokenBitmask(&row);
    if (vocabulary_ % 32 != 0) bits_.back() &= (1U << (vocabulary_ % 32)) - 1;
  }

  xgrammar::GrammarMatcher matcher_;
  std::vector<uint32_t> bits_;
  int64_t vocabulary_;
  FollowLimits limits_;
  double spent_ = 0;
  int64_t written_ = 0;
  bool fresh_ = false;
};

class XgrammarConstraint : public Constraint {
 public:
  XgrammarConstraint(std::shared_ptr<const GrammarTokens> tokens, xgrammar::CompiledGrammar compiled,
                     const FollowLimits& limits)
      : tokens_(std::move(tokens)), compiled_(std::move(compiled)), limits_(limits) {}

  std::unique_ptr<ConstrainedText> begin() const override {
    return of_request("the constraint",
                      [&] { return std::make_unique<XgrammarText>(compiled_, tokens_->info.GetVocabSize(), limits_); });
  }

 private:
  std::shared_ptr<const GrammarTokens> tokens_;
  xgrammar::CompiledGrammar compiled_;
  FollowLimits limits_;
};

}  // namespace

std::string why_no_grammars() { return ""; }

std::string compile_grammar(const TokenTable& tokens, const std::string& format) {
  return of_request("the constraint", [&] {
    clear_warnings();
    const xgrammar::TokenizerInfo info = info_of(tokens);
    const auto read =
        xgrammar::Grammar::FromStructuralTag("{\"type\":\"structural_tag\",\"format\":" + format + "}", info);
    if (const auto* problem = std::get_if<1>(&read)) fail(ErrorKind::invalid, "{}", message_of(*problem));
    const auto& grammar = std::get<0>(read);
    if (const std::string warning = first_warning(); !warning.empty())
      fail(ErrorKind::invalid, "it cannot be followed in full: {}", warning);
    check(is_satisfiable(grammar.SerializeJSON()), ErrorKind::invalid, "no text satisfies it");
    const auto compiled = xgrammar::GrammarCompiler(info, 1, false).CompileGrammar(grammar);
    XgrammarText text(compiled, int64_t(tokens.size()), {1e9, 0});
    const auto bits = text.allowed();
    const bool some = std::any_of(bits.begin(), bits.end(), [](uint32_t word) { return word != 0; });
    check(some || !text.may_end(), ErrorKind::invalid, "it allows nothing but the empty text");
    check(some, ErrorKind::invalid, "no token of this model can begin it");
    return compiled.SerializeJSON();
  });
}

std::shared_ptr<const GrammarTokens> grammar_tokens(const TokenTable& tokens) {
  return std::make_shared<GrammarTokens>(GrammarTokens{info_of(tokens)});
}

GrammarConstraint constraint_of(const std::shared_ptr<const GrammarTokens>& tokens, const std::string& compiled,
                                const FollowLimits& limits) {
  auto read = xgrammar::CompiledGrammar::DeserializeJSON(compiled, tokens->info);
  if (const auto* problem = std::get_if<1>(&read))
    fail(ErrorKind::internal, "a compiled grammar came back damaged: {}", message_of(*problem));
  auto& grammar = std::get<0>(read);
  const auto bytes = int64_t(grammar.MemorySizeBytes());
  return {std::make_shared<XgrammarConstraint>(tokens, std::move(grammar), limits), bytes};
}

}  // namespace hadal

// No library: nothing is offered, and it is said how to get it.
#include "grammar/backend.h"

#include "base/error.h"

namespace hadal {

std::string why_no_grammars() {
  return "this program was built without XGrammar, which constrains answers: run ./setup, which builds it into "
         ".xgrammar, then cmake --preset release and make";
}

std::string compile_grammar(const TokenTable&, const std::string&) {
  fail(ErrorKind::unsupported, "{}", why_no_grammars());
}

struct GrammarTokens {};
std::shared_ptr<const GrammarTokens> grammar_tokens(const TokenTable&) { return std::make_shared<GrammarTokens>(); }

GrammarConstraint constraint_of(const std::shared_ptr<const GrammarTokens>&, const std::string&, const FollowLimits&) {
  fail(ErrorKind::unsupported, "{}", why_no_grammars());
}

}  // namespace hadal

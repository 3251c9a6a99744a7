// Grammars: formats as constraints on one model's tokens, compiled in a child under limits and kept for the next
// request that asks the same; so is that one cannot be compiled.
#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "grammar/backend.h"
#include "grammar/compile_child.h"
#include "text/tokenizer.h"

namespace hadal {

class Grammars {
 public:
  explicit Grammars(const Tokenizer& tokenizer, const GrammarLimits& limits = {});  // which must outlive it

  // `format`: JSON (formats.h). Takes up to the limits' seconds; one call at a time compiles, others that must compile
  // wait. Throws invalid, saying why, for what cannot be followed; unsupported where there is no library.
  std::shared_ptr<const Constraint> constraint(const std::string& format);
  // The same where it is kept, at once and whatever is compiled meanwhile; else null.
  std::shared_ptr<const Constraint> kept(const std::string& format);

 private:
  struct Kept {
    std::string format, refusal;
    std::shared_ptr<const Constraint> constraint;
    int64_t bytes = 0;
  };
  Kept compile(const std::string& format);
  void keep(Kept one);

  const Tokenizer& tokenizer_;
  GrammarLimits limits_;
  std::mutex mutex_;      // of the next, held for moments
  std::list<Kept> kept_;  // the latest used first
  std::mutex compiling_;  // of all below
  TokenTable table_;
  std::shared_ptr<const GrammarTokens> tokens_;
};

}  // namespace hadal

// What a text may become, in ids: the engine's side of constrained output. Who makes one knows texts and grammars
// (grammar/grammars.h); the engine asks before each draw which ids may come, and says which one came. Only what is
// drawn is told, and a draft counts only where it is drawn, so nothing is ever taken back. Log-probabilities know
// nothing of it.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

namespace hadal {

// One text under way. Where a call throws, its request fails with the message.
class ConstrainedText {
 public:
  virtual ~ConstrainedText() = default;
  // Bit id % 32 of word id / 32 for each id that may come next; ids beyond the words may not. It says nothing of ids
  // that end the text: may_end() does. Valid until accept().
  virtual std::span<const uint32_t> allowed() = 0;
  virtual bool may_end() const = 0;     // as it stands
  virtual void accept(int32_t id) = 0;  // one that is allowed
};

class Constraint {
 public:
  virtual ~Constraint() = default;
  virtual std::unique_ptr<ConstrainedText> begin() const = 0;  // of an empty text; may be called from any thread
};

}  // namespace hadal

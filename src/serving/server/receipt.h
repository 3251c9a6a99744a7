// A receipt says all that one answer follows from (prompt, draws, numbers' format, instruction set), and what it was,
// as ids and log-probabilities, so that anyone with the model can regenerate it bit for bit (hadal replay).
#pragma once
#include <string>
#include <vector>

#include "base/exec.h"
#include "engine/engine.h"
#include "server/json_fields.h"

namespace hadal {

struct Receipt {
  std::string model, device, isa, precision, weights, attention_form;
  std::string cache = enum_name(CacheFormat::values);
  int64_t weights_version = 0;
  std::string weights_identity;     // of the files (TensorFiles::identity); empty: not known
  EngineRequest asked;              // without callbacks and max_tokens, on which no token depends
  std::string format;               // of asked.constraint, which whoever replays compiles from it; empty: none
  std::vector<ScoredToken> tokens;  // without their top
};

// What of a receipt follows from where a model computes.
Receipt receipt_of(const Exec& exec, const Transformer& model, const std::string& name);

Json receipt_json(const Receipt& receipt);
// Throws invalid, naming the member, for what is none.
Receipt receipt_from_json(const std::string& text, const std::string& where);

// What is other `here` than where the answer came from, in words, so that other bits surprise nobody; empty: nothing.
std::string what_is_other(const Receipt& receipt, const Receipt& here);

struct Replayed {
  int64_t same = 0;   // tokens that came again, the first so many
  std::string first;  // what differs, of the first token that does; empty: all came again, to the bit
};
// Writes the answer once more, alone.
Replayed replay(const Exec& exec, const Transformer& model, const Receipt& receipt);

}  // namespace hadal

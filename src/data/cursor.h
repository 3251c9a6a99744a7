// The exact place in the loader's stream of sequences, as it stands in checkpoints.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hadal::data {

// Where one source stands.
struct SourceCursor {
  int64_t epoch = 0;
  int64_t position = 0;   // in the epoch's order of documents
  int64_t token = 0;      // next token of that document
  int64_t part = 0;       // next part of that document
  int64_t drawn = 0;      // tokens given so far, special ones included
  bool finished = false;  // at_end = stop, and nothing is left
  bool operator==(const SourceCursor&) const = default;
};

// The exact place in the stream: the sources as they stood when the current window began, and sequences taken from it.
struct Cursor {
  std::string identity;  // of shards, tokenizer and settings; another one is refused
  int64_t window = 0, position = 0, sequences = 0;
  std::vector<SourceCursor> sources;
  std::string plan;  // of the shards (ShardIndex::plan); empty in cursors older than this field
  bool operator==(const Cursor&) const = default;
  std::string to_json() const;
  static Cursor from_json(const std::string& text);  // throws corrupt
};

}  // namespace hadal::data

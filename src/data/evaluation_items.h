// Items of evaluations, as text that training must not hold (data.decontaminate.files): JSON lines, a list in JSON, an
// object in JSON with lists of objects, or text, of which every line is an item. Also .gz and .zst.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/duplicates_config.h"

namespace hadal::data {

struct EvaluationItem {
  std::string file;
  int64_t number = 0;  // its line, or of a list its place, from 1
  bool in_list = false;
  std::vector<std::string> parts;  // its texts (question, answer, choices ...), and all of them joined
  std::string place() const;       // "'FILE' line N"
};

// The files of the patterns. Throws not_found for a pattern that names nothing.
std::vector<std::string> evaluation_files(const DecontaminateConfig& config);

// Takes one item after another. Throws corrupt for a line that is no JSON, whatever data.on_bad_line says: an item that
// is not read is one that is not looked for; invalid for a file without items.
void read_evaluation_items(const DecontaminateConfig& config, const std::function<void(EvaluationItem&&)>& take);

// A hash of the files' bytes in their order, not of where they lie; empty without files.
std::string evaluation_hash(const DecontaminateConfig& config);

}  // namespace hadal::data

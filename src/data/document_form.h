// How a file holds documents, told by how it begins; its name decides only what its content leaves open.
#pragma once
#include <string>
#include <string_view>

namespace hadal::data {

enum class Form {
  text,   // the file is one document
  lines,  // one JSON object per line
  values  // JSON objects over any number of lines, one behind the other or in lists
};

constexpr const char* kFormNames[] = {"plain text", "JSON lines", "JSON"};

struct FormGuess {
  Form form = Form::text;
  bool undecided = false;  // more of the file is needed
  std::string no_json;     // why a file that looks or is named like JSON is text: completes "it is read as text: ..."
};

// `start` is the beginning of the text, or, if `whole`, all of it; `extension` is inner_extension() of the name. A file
// named .jsonl or .ndjson is JSON whatever it begins with; any other is if it begins with an object, or a list of
// objects, whose member `field` is a string (any_value: is there).
FormGuess guess_form(std::string_view start, bool whole, std::string_view extension, std::string_view field,
                     bool any_value = false);

}  // namespace hadal::data

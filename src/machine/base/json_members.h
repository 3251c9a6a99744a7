// JSON of other people's data, read for a few members: what the caller wants is found, and what nobody asked for is
// passed over, whatever it holds. JSON is here what Python reads and writes: numbers of any size, NaN, Infinity and
// -Infinity, escapes of lone surrogates; of equal names the last counts. Strings keep bytes that are no UTF-8 as they
// stand, as plain text does. Nothing nests too deep. JSON of our own files is read by base/json.h, which is strict.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hadal {

// What keeps a text from being JSON, or nothing.
struct JsonFault {
  const char* what = nullptr;
  size_t at = 0;
  bool cut_off = false;  // the text ends inside of a value: more of it may follow
  explicit operator bool() const { return what != nullptr; }
  std::string text() const;  // "a comma or } was expected at byte 17"
};

// Passes over white space and one value; `at` is moved behind it, `value` is its own text.
JsonFault next_json_value(std::string_view json, size_t& at, std::string_view& value);

struct JsonMember {
  std::string_view name;
  std::string* content = nullptr;  // takes the content of a string
  std::string_view text = {};      // as it is written; empty where there is no such member
  int64_t replaced = 0;            // escapes of lone surrogates that became U+FFFD in `content`

  bool is_string() const { return text.starts_with('"'); }
};

// The text is one value with white space around it: `value` becomes the value's own text. Where it is an object, the
// members asked for are filled in.
JsonFault read_json_members(std::string_view json, std::string_view& value, std::span<JsonMember> members = {});

// The names of a valid object for a message: "id, title, ...", eight at most; "none" without any.
std::string json_member_names(std::string_view object);

// The content of a valid string, in place of `out`. Returns how many escapes of lone surrogates became U+FFFD.
int64_t json_string(std::string_view string, std::string& out);

// JSON of this kind as parse_json() takes it: U+FFFD for escapes of lone surrogates and bytes outside of UTF-8, null
// for NaN, infinities and numbers that a double cannot hold. Adds to `replaced` how many U+FFFD there are. A text that
// is no JSON comes back as it is.
std::string strict_json(std::string_view json, int64_t& replaced);

}  // namespace hadal

// JsonFields: the members of a JSON object from a peer, each read as what it must be. A wrong one is refused by its
// name, its value and what would be right; null counts as absent.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

using Json = nlohmann::ordered_json;

// The body of a request: one object, no name twice, bounded nesting. Throws ApiError.
Json json_of_body(const std::string& body);

// A value for an error's message: its JSON, cut where it is long.
std::string shown(const Json& value);

class JsonFields {
 public:
  explicit JsonFields(const Json& object) : object_(&object) {}

  const Json* find(const char* name) const;  // none: absent or null
  std::optional<int64_t> integer(const char* name, int64_t low, int64_t high) const;
  std::optional<double> number(const char* name, double low, double high, bool low_included = true) const;
  bool boolean(const char* name, bool otherwise = false) const;
  std::optional<std::string> text(const char* name) const;
  // A seed: any integer of 64 bits, signed or not.
  std::optional<uint64_t> seed(const char* name) const;
  // One text or a list of them, each not empty.
  std::vector<std::string> texts(const char* name, int64_t most, int64_t most_bytes) const;

  // Refuses a name that none of the lists has, and proposes the nearest one.
  void check_names(std::initializer_list<std::vector<std::string>> known) const;

 private:
  [[noreturn]] void wrong(const char* name, const std::string& what) const;
  const Json* object_;
};

// A list of token ids below `vocabulary`. Throws ApiError naming the place of a wrong one.
std::vector<int32_t> token_ids(const Json& list, const std::string& name, int64_t vocabulary);

}  // namespace hadal

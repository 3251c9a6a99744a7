#include "server/json_fields.h"

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "base/text_format.h"
#include "server/api_error.h"

namespace hadal {

namespace {

// The library looks for each name of an object among all before it: a million of them would take minutes.
constexpr int64_t kMostNames = 10000;

int64_t count_names(const std::string& json) {
  int64_t n = 0;
  bool quoted = false;
  for (size_t i = 0; i < json.size(); ++i) {
    if (quoted && json[i] == '\\')
      ++i;
    else if (json[i] == '"')
      quoted = !quoted;
    else if (!quoted && json[i] == ':')
      ++n;
  }
  return n;
}

}  // namespace

Json json_of_body(const std::string& body) {
  if (body.empty()) refuse("", "the request has no body; it is a JSON object");
  if (const int64_t names = count_names(body); names > kMostNames)
    refuse("", "the request's body has {} names in its objects; at most {} are taken", names, kMostNames);
  try {
    return parse_json<Json>(body, "the request's body",
                            {.levels = 100, .object = true, .unique_names = true, .kind = ErrorKind::invalid});
  } catch (const Error& error) {
    throw ApiError(400, error.what());
  }
}

std::string shown(const Json& value) {
  constexpr size_t kMost = 80;
  if (value.is_string() && value.get_ref<const std::string&>().size() > kMost)
    return json_text(Json(value.get_ref<const std::string&>().substr(0, kMost)), {.lossy = true}) + "...";
  if (value.is_structured() && value.size() > kMost)
    return fmt::format("{} of {} members", value.is_array() ? "a list" : "an object", value.size());
  const std::string text = json_text(value, {.lossy = true});
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

const Json* JsonFields::find(const char* name) const {
  const auto at = object_->find(name);
  return at == object_->end() || at->is_null() ? nullptr : &*at;
}

void JsonFields::wrong(const char* name, const std::string& what) const {
  refuse(name, "{} = {} must be {}", name, shown(*find(name)), what);
}

std::optional<int64_t> JsonFields::integer(const char* name, int64_t low, int64_t high) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<uint64_t>() <= uint64_t(INT64_MAX)) &&
                    value->get<int64_t>() >= low && value->get<int64_t>() <= high;
  if (!fits) wrong(name, fmt::format("a whole number from {} to {}", low, high));
  return value->get<int64_t>();
}

std::optional<double> JsonFields::number(const char* name, double low, double high, bool low_included) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= low && number <= high) || (!low_included && number == low))
    wrong(name, fmt::format("a number {} {} {} {}", low_included ? "from" : "above", low,
                            low_included ? "to" : "and at most", high));
  return number;
}

bool JsonFields::boolean(const char* name, bool otherwise) const {
  const Json* value = find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) wrong(name, "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonFields::text(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_string()) wrong(name, "a text");
  return value->get<std::string>();
}

std::optional<uint64_t> JsonFields::seed(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_number_integer()) wrong(name, "a whole number of 64 bits");
  return value->is_number_unsigned() ? value->get<uint64_t>() : uint64_t(value->get<int64_t>());
}

std::vector<std::string> JsonFields::texts(const char* name, int64_t most, int64_t most_bytes) const {
  const Json* value = find(name);
  std::vector<std::string> texts;
  if (value == nullptr) return texts;
  const Json list = value->is_array() ? *value : Json::array({*value});
  if (int64_t(list.size()) > most) refuse(name, "{} has {} texts; at most {} are taken", name, list.size(), most);
  for (const Json& one : list) {
    if (!one.is_string()) wrong(name, "a text or a list of texts");
    const auto& text = one.get_ref<const std::string&>();
    if (text.empty()) refuse(name, "{} has an empty text, which would end every answer before it begins", name);
    if (int64_t(text.size()) > most_bytes)
      refuse(name, "{} has a text of {} bytes; at most {} are taken", name, text.size(), most_bytes);
    texts.push_back(text);
  }
  return texts;
}

void JsonFields::check_names(std::initializer_list<std::vector<std::string>> known) const {
  std::vector<std::string> all;
  for (const auto& list : known) all.insert(all.end(), list.begin(), list.end());
  for (const auto& [name, value] : object_->items()) {
    if (std::find(all.begin(), all.end(), name) != all.end()) continue;
    const std::string short_name = name.substr(0, 60), near = nearest_name(short_name, all);
    refuse(short_name, "unknown field '{}'{}", short_name, near.empty() ? "" : "; did you mean '" + near + "'?");
  }
}

std::vector<int32_t> token_ids(const Json& list, const std::string& name, int64_t vocabulary) {
  std::vector<int32_t> ids;
  if (!list.is_array()) refuse(name, "{} = {} must be a list of token ids", name, shown(list));
  ids.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const Json& id = list[i];
    const bool fits = id.is_number_integer() && (id.is_number_unsigned() || id.get<int64_t>() >= 0) &&
                      id.get<uint64_t>() < uint64_t(vocabulary);
    if (!fits) refuse(name, "{}[{}] = {} must be a token id from 0 to {}", name, i, shown(id), vocabulary - 1);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

}  // namespace hadal

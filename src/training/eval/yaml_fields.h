// The keys of one mapping of a task file, taken by name and type; what nobody took is refused in the end.
#pragma once
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace hadal::eval {

class YamlFields {
 public:
  using Json = nlohmann::ordered_json;
  // where: "FILE", or "FILE: metric_list", for messages. Throws invalid for what is no mapping.
  YamlFields(const Json& object, std::string where);

  bool has(const std::string& key) const;    // and is not null
  const Json& take(const std::string& key);  // null where it is absent
  std::string text(const std::string& key, const std::string& otherwise);
  int64_t whole(const std::string& key, int64_t otherwise, int64_t least);
  double number(const std::string& key, double otherwise);
  bool truth(const std::string& key, bool otherwise);
  std::vector<std::string> texts(const std::string& key);  // a list of texts, or one
  // Takes a key that is not offered: refused by name where it says anything but `harmless`.
  void refuse(const std::string& key, const std::string& why, const Json& harmless = nullptr);
  void finish() const;  // throws unsupported for a key that nobody took
  [[noreturn]] void wrong(const std::string& key, const std::string& wanted) const;
  const std::string& where() const { return where_; }

 private:
  const Json& object_;
  std::string where_;
  std::set<std::string> taken_;
};

}  // namespace hadal::eval

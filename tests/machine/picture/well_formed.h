// Whether a picture is well-formed XML: tags close in order, attributes stand in quotes once each, no sign that must be
// an entity stands by itself.
#pragma once
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace hadal {

// Empty, or what is wrong and where.
inline std::string xml_fault(const std::string& xml) {
  static const std::regex tag(R"re(^<(/?)([a-z]+)((?:\s+[a-zA-Z:-]+="[^"<]*")*)\s*(/?)>)re");
  static const std::regex name(R"re(\s([a-zA-Z:-]+)=")re");
  static const std::regex entity("^&(amp|lt|gt|quot|#[0-9]+);");
  std::vector<std::string> open;
  for (size_t at = 0; at < xml.size();) {
    const std::string near = xml.substr(at, 400);
    std::smatch match;
    if (xml[at] == '&' && !std::regex_search(near, entity)) return "a bare & at " + near.substr(0, 40);
    if (xml[at] == '>') return "a bare > at " + near.substr(0, 40);
    if (xml[at] != '<') {
      if (open.empty() && xml[at] != '\n') return "text outside of the picture: " + near.substr(0, 40);
      ++at;
      continue;
    }
    if (!std::regex_search(near, match, tag)) return "no tag at " + near.substr(0, 40);
    std::set<std::string> names;
    const std::string attributes = match[3];
    for (std::sregex_iterator it(attributes.begin(), attributes.end(), name), end; it != end; ++it)
      if (!names.insert((*it)[1]).second) return "an attribute twice in " + match.str();
    if (match[1] == "/") {
      if (open.empty() || open.back() != match[2]) return "closed out of order: " + match.str();
      open.pop_back();
    } else if (match[4] != "/") {
      open.push_back(match[2]);
    }
    at += size_t(match.length());
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

}  // namespace hadal

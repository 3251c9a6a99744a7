// A page as a browser's parser would see it: tags that nest, attributes in quotes, nothing that a browser would fetch
// or run.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

namespace hadal {

// Empty where every tag that opens is closed in its order and every attribute is quoted; else what is wrong, with the
// text around it.
inline std::string html_fault(const std::string& page) {
  std::vector<std::string> open;
  const auto around = [&](size_t at) { return page.substr(at > 40 ? at - 40 : 0, 100); };
  for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at)) {
    size_t end = at + 1;
    for (bool quoted = false; end < page.size() && (quoted || page[end] != '>'); ++end) {
      if (page[end] == '"') quoted = !quoted;
      if (!quoted && page[end] == '<') return "a tag in a tag: " + around(at);
    }
    if (end >= page.size()) return "a tag without an end: " + around(at);
    const std::string tag = page.substr(at + 1, end - at - 1), name = tag.substr(0, tag.find_first_of(" \n/", 1));
    at = end + 1;
    for (size_t equal = tag.find('='), quotes = 0; equal != std::string::npos; equal = tag.find('=', equal + 1)) {
      quotes = size_t(std::count(tag.begin(), tag.begin() + long(equal), '"'));
      if (quotes % 2 == 0 && tag.substr(equal + 1, 1) != "\"") return "an attribute without quotes: " + tag;
    }
    if (name == "!doctype" || name == "meta" || tag.back() == '/') continue;
    if (name == "script" || name == "link" || name == "img" || name == "iframe" || name == "object")
      return "what a browser would fetch or run: " + tag;
    if (name[0] != '/') {
      open.push_back(name);
      if (name == "style") at = page.find("</style>", at);
      continue;
    }
    if (open.empty() || "/" + open.back() != name)
      return "<" + name + "> closes " + (open.empty() ? "nothing" : open.back()) + ": " + around(at);
    open.pop_back();
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

inline size_t count_of(const std::string& text, const std::string& what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

}  // namespace hadal

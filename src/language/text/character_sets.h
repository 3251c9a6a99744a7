// A set of characters, as ranges of code points (0 .. 10FFFF without the surrogates): what a class of a regular
// expression means, so that classes can be united, intersected and negated whatever the engine's syntax offers.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hadal {

class CharacterSet {
 public:
  struct Range {
    uint32_t first = 0, last = 0;
    bool operator==(const Range&) const = default;
  };
  CharacterSet() = default;  // the empty set
  explicit CharacterSet(std::vector<Range> ranges);

  const std::vector<Range>& ranges() const { return ranges_; }  // ascending, with a gap between each two
  bool empty() const { return ranges_.empty(); }
  CharacterSet united(const CharacterSet& other) const;
  CharacterSet intersected(const CharacterSet& other) const;
  CharacterSet complement() const;

  // As PCRE2 reads it: "[\x{61}-\x{7a}]", or an expression that matches nothing.
  std::string as_class() const;

 private:
  std::vector<Range> ranges_;
};

// The characters that this class of PCRE2 ("[...]") matches, asked of PCRE2 itself. Throws invalid where it is none.
CharacterSet characters_of_class(const std::string& pcre2_class);

}  // namespace hadal

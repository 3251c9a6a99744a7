// The methods of str. Every one keeps the marks of the text.
#include <algorithm>
#include <optional>

#include "jinja/characters.h"
#include "jinja/text_layout.h"

namespace hadal::jinja {

const MarkedText& text_argument(Interpreter& in, const Value& value, const char* what) {
  if (value.is_undefined()) in.use_of_undefined(value);
  if (value.text() == nullptr) in.error(fmt::format("{} is a {}, not a str", what, value.type_name()));
  return *value.text();
}

namespace {

const Value* optional(Arguments& arguments, size_t position, const char* name) {
  const Value* value = arguments.find(position, name);
  return value != nullptr && value->is_none() ? nullptr : value;
}

constexpr size_t kFragmentBytes =
    sizeof(Value) + sizeof(MarkedText) + 64;  // what a fragment of a text costs besides its letters

Value fragments(Interpreter& in, const MarkedText& self, const std::vector<std::pair<size_t, size_t>>& ranges,
                ListKind kind = ListKind::list) {
  std::vector<Value> out;
  for (const auto& [begin, end] : ranges) out.push_back(in.text(self.part(begin, end)));
  return in.list(std::move(out), kind);
}

// split and rsplit at a separator.
std::vector<std::pair<size_t, size_t>> split_at(Interpreter& in, const std::string& text, const std::string& separator,
                                                int64_t most, bool from_right) {
  std::vector<std::pair<size_t, size_t>> ranges;
  if (from_right && most >= 0) {  // the cuts of a search from the right, nearest first
    std::string backwards(text.rbegin(), text.rend());
    const std::string mirrored(separator.rbegin(), separator.rend());
    const size_t n = text.size();
    for (const auto& [begin, end] : split_at(in, backwards, mirrored, most, false))
      ranges.emplace_back(n - end, n - begin);
    std::reverse(ranges.begin(), ranges.end());
    return ranges;
  }
  size_t begin = 0;
  for (size_t at = find_bytes(text, separator, 0); at != std::string::npos && most != 0;
       at = find_bytes(text, separator, begin), --most) {
    in.charge(kFragmentBytes);
    ranges.emplace_back(begin, at);
    begin = at + separator.size();
  }
  ranges.emplace_back(begin, text.size());
  return ranges;
}

// Words between white space; after `most` cuts the last word (or the first) takes the rest, with the blanks at its far
// end.
std::vector<std::pair<size_t, size_t>> split_words(Interpreter& in, const MarkedText& text, int64_t most,
                                                   bool from_right) {
  std::vector<std::pair<size_t, size_t>> words;
  size_t at = 0, begin = std::string::npos;
  text.for_each([&](std::string_view character, bool) {
    if (is_space(code_point(character))) {
      if (begin != std::string::npos) {
        in.charge(kFragmentBytes);
        words.emplace_back(begin, at);
      }
      begin = std::string::npos;
    } else if (begin == std::string::npos) {
      begin = at;
    }
    at += character.size();
  });
  if (begin != std::string::npos) words.emplace_back(begin, at);
  if (most < 0 || int64_t(words.size()) <= most) return words;
  if (words.empty()) return words;
  if (from_right) {
    const size_t keep = words.size() - size_t(most);  // these become one
    words[keep - 1].first = 0;
    words.erase(words.begin(), words.begin() + int64_t(keep) - 1);
  } else {
    words[size_t(most)].second = text.size();
    words.resize(size_t(most) + 1);
  }
  return words;
}

Value split(Interpreter& in, const MarkedText& self, Arguments& arguments, bool from_right) {
  const Value* separator = optional(arguments, 0, "sep");
  const Value* limit = arguments.find(1, "maxsplit");
  in.finish(arguments, 2);
  const int64_t most = limit != nullptr ? in.small_integer(*limit, "maxsplit") : -1;
  in.charge(self.size() * 2);
  if (separator == nullptr) return fragments(in, self, split_words(in, self, most < 0 ? -1 : most, from_right));
  const MarkedText& by = text_argument(in, *separator, "the separator");
  if (by.empty()) in.error("the separator is empty");
  return fragments(in, self, split_at(in, self.bytes(), by.bytes(), most < 0 ? -1 : most, from_right));
}

Value strip(Interpreter& in, const MarkedText& self, Arguments& arguments, bool left, bool right) {
  const Value* characters = optional(arguments, 0, "");
  in.finish(arguments, 1);
  std::pair<size_t, size_t> range;
  if (characters == nullptr) {
    range = strip_range(self.bytes(), left, right);
  } else {
    const MarkedText& which = text_argument(in, *characters, "what is to be stripped");
    if (which.size() > 1000) in.error("more than 1000 bytes of characters to strip");
    range = strip_range(self.bytes(), which.bytes(), left, right);
  }
  return in.text(self.part(range.first, range.second));
}

Value split_lines(Interpreter& in, const MarkedText& self, Arguments& arguments) {
  const Value* keep = arguments.find(0, "keepends");
  in.finish(arguments, 1);
  const bool keeps = keep != nullptr && in.truth(*keep);
  std::vector<std::pair<size_t, size_t>> lines;
  size_t at = 0, begin = 0;
  bool after_return = false;
  self.for_each([&](std::string_view character, bool) {
    const uint32_t c = code_point(character);
    if (c == '\n' && after_return) {
      begin = at + 1;
      if (keeps) lines.back().second = begin;
    } else if (is_line_end(c)) {
      in.charge(kFragmentBytes);
      lines.emplace_back(begin, keeps ? at + character.size() : at);
      begin = at + character.size();
    }
    after_return = c == '\r';
    at += character.size();
  });
  if (begin < self.size()) lines.emplace_back(begin, self.size());
  return fragments(in, self, lines);
}

// The part of the text that the arguments at `position` and behind bound, as [begin, end) in bytes; nothing where it
// begins behind the end, so that not even an empty text is found there.
std::optional<std::pair<size_t, size_t>> bounded(Interpreter& in, const MarkedText& self, const Arguments& arguments,
                                                 size_t position) {
  const std::vector<Value>& values = arguments.values;
  if (values.size() <= position) return std::pair<size_t, size_t>{0, self.size()};
  const int64_t n = self.n_characters();
  const auto bound = [&](size_t at, int64_t otherwise) {
    if (values.size() <= at || values[at].is_none()) return otherwise;
    const int64_t given = in.small_integer(values[at], "a bound");
    return given < 0 ? std::max<int64_t>(0, given + n) : given;
  };
  const int64_t begin = bound(position, 0), end = std::min(bound(position + 1, n), n);
  if (begin > n || begin > end) return std::nullopt;
  return std::pair{self.byte_of(begin), self.byte_of(end)};
}

Value starts_or_ends(Interpreter& in, const MarkedText& self, Arguments& arguments, bool starts) {
  in.finish(arguments, 3);
  if (arguments.values.empty()) in.error("startswith and endswith want a text");
  std::vector<Value> choices = {arguments.values[0]};
  if (choices[0].is_list(ListKind::tuple)) choices = in.iterate(arguments.values[0]);
  const auto range = bounded(in, self, arguments, 1);
  for (const Value& choice : choices) {
    const std::string& what = text_argument(in, choice, "what startswith or endswith looks for").bytes();
    if (!range) continue;
    const std::string_view part = std::string_view(self.bytes()).substr(range->first, range->second - range->first);
    if (starts ? part.starts_with(what) : part.ends_with(what)) return Value(true);
  }
  return Value(false);
}

Value join(Interpreter& in, const MarkedText& self, Arguments& arguments) {
  in.finish(arguments, 1);
  if (arguments.values.empty()) in.error("'join' wants a list");
  MarkedText out;
  bool first = true;
  for (const Value& item : in.iterate(arguments.values[0])) {
    if (!std::exchange(first, false)) out.append(self);
    out.append(text_argument(in, item, "an item to be joined"));
    in.check_size(out);
  }
  return in.text(std::move(out));
}

Value find(Interpreter& in, const MarkedText& self, const std::string& name, Arguments& arguments) {
  in.finish(arguments, 3);
  if (arguments.values.empty()) in.error("'" + name + "' wants a text");
  const std::string& what = text_argument(in, arguments.values[0], "what is looked for").bytes();
  in.charge(self.size());
  const auto range = bounded(in, self, arguments, 1);
  const std::string_view part =
      range ? std::string_view(self.bytes()).substr(range->first, range->second - range->first) : std::string_view();
  if (name == "count") {
    if (!range) return Value(0);
    if (what.empty()) return Value(MarkedText(std::string(part), true).n_characters() + 1);
    int64_t n = 0;
    for (size_t at = find_bytes(part, what, 0); at != std::string::npos; at = find_bytes(part, what, at + what.size()))
      ++n;
    return Value(n);
  }
  size_t at = std::string::npos;
  if (range) at = name.starts_with('r') ? find_last_bytes(part, what) : find_bytes(part, what, 0);
  if (at == std::string::npos && name.ends_with("index")) in.error("the text to be found is not there");
  return Value(at == std::string::npos ? int64_t(-1) : self.character_of(range->first + at));
}

Value partition(Interpreter& in, const MarkedText& self, const std::string& name, Arguments& arguments) {
  in.finish(arguments, 1);
  if (arguments.values.empty()) in.error("'" + name + "' wants a separator");
  const MarkedText& by = text_argument(in, arguments.values[0], "the separator");
  if (by.empty()) in.error("the separator is empty");
  in.charge(self.size());
  const bool right = name == "rpartition";
  const size_t at = right ? find_last_bytes(self.bytes(), by.bytes()) : find_bytes(self.bytes(), by.bytes(), 0);
  const size_t n = self.size();
  if (at == std::string::npos)
    return fragments(in, self,
                     right ? std::vector<std::pair<size_t, size_t>>{{0, 0}, {0, 0}, {0, n}}
                           : std::vector<std::pair<size_t, size_t>>{{0, n}, {n, n}, {n, n}},
                     ListKind::tuple);
  return fragments(in, self, {{0, at}, {at, at + by.size()}, {at + by.size(), n}}, ListKind::tuple);
}

Value replace(Interpreter& in, const MarkedText& self, Arguments& arguments) {
  const Value* limit = arguments.find(2, "count");
  in.finish(arguments, 3);
  if (arguments.values.size() < 2) in.error("'replace' wants the old and the new text");
  const MarkedText& old = text_argument(in, arguments.values[0], "the old text");
  const MarkedText& now = text_argument(in, arguments.values[1], "the new text");
  int64_t most = limit != nullptr ? in.small_integer(*limit, "the count") : -1;
  in.charge(self.size());
  MarkedText out;
  size_t done = 0, n = 0;
  if (old.empty()) {  // before every character and at the end
    self.for_each([&](std::string_view character, bool) {
      if (most-- != 0)
        out.append(now);
      else
        most = 0;
      out.append(self, done, done + character.size());
      done += character.size();
      in.check_size(out);
    });
    if (most != 0) out.append(now);
    return in.text(std::move(out));
  }
  for (size_t at = find_bytes(self.bytes(), old.bytes(), 0); at != std::string::npos && most != 0;
       at = find_bytes(self.bytes(), old.bytes(), done), --most) {
    out.append(self, done, at);
    out.append(now);
    in.step();
    if ((++n & 255) == 0 || now.size() > 4096) in.check_size(out);
    done = at + old.size();
  }
  out.append(self, done, self.size());
  return in.text(std::move(out));
}

}  // namespace

namespace {

// A text's result, or those in a list of results, is HTML as the text was.
Value as_html(Interpreter& in, const Value& result) {
  if (const MarkedText* text = result.text()) {
    MarkedText copy = *text;
    copy.set_html();
    return in.text(std::move(copy));
  }
  if (result.list() == nullptr) return result;
  std::vector<Value> items;
  for (const Value& item : result.list()->items) items.push_back(as_html(in, item));
  return in.list(std::move(items), result.list()->kind);
}

// What a method puts between or in place of parts of HTML is escaped.
void escape_arguments(Interpreter& in, const std::string& name, Arguments& arguments) {
  const auto escape = [&](Value& value) {
    if (value.text() == nullptr || !value.text()->is_html()) value = in.text(escaped_html(in.to_text(value)));
  };
  if (name == "join" && arguments.values.size() == 1) {
    std::vector<Value> items = in.iterate(arguments.values[0]);
    for (Value& item : items) escape(item);
    arguments.values[0] = in.list(std::move(items));
  } else if (name == "replace" && arguments.values.size() > 1 && arguments.values[1].text() != nullptr) {
    escape(arguments.values[1]);
  }
}

Value call_plain_method(Interpreter& in, const MarkedText& self, const std::string& name, Arguments& arguments) {
  in.charge(self.size() / 8);
  if (name == "strip") return strip(in, self, arguments, true, true);
  if (name == "lstrip") return strip(in, self, arguments, true, false);
  if (name == "rstrip") return strip(in, self, arguments, false, true);
  if (name == "split" || name == "rsplit") return split(in, self, arguments, name == "rsplit");
  if (name == "splitlines") return split_lines(in, self, arguments);
  if (name == "startswith" || name == "endswith") return starts_or_ends(in, self, arguments, name == "startswith");
  if (name == "replace") return replace(in, self, arguments);
  if (name == "join") return join(in, self, arguments);
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex" || name == "count")
    return find(in, self, name, arguments);
  if (name == "partition" || name == "rpartition") return partition(in, self, name, arguments);
  if (name == "removeprefix" || name == "removesuffix") {
    in.finish(arguments, 1);
    if (arguments.values.empty()) in.error("'" + name + "' wants a text");
    const std::string& what = text_argument(in, arguments.values[0], "what is to be removed").bytes();
    const bool prefix = name == "removeprefix";
    const bool there = prefix ? self.bytes().starts_with(what) : self.bytes().ends_with(what);
    if (!there) return in.text(self);
    return in.text(prefix ? self.part(what.size(), self.size()) : self.part(0, self.size() - what.size()));
  }
  if (name == "format") return in.format_braces(self, arguments);
  if (is_layout_method(name)) return call_layout_method(in, self, name, arguments);
  in.finish(arguments, name == "format_map" ? 1 : 0);
  if (name == "format_map") {
    Arguments named;
    if (arguments.values.empty() || arguments.values[0].dict() == nullptr) in.error("'format_map' wants a dict");
    for (const auto& [key, value] : arguments.values[0].dict()->items)
      if (key.text() != nullptr) named.named.emplace_back(key.text()->bytes(), value);
    return in.format_braces(self, named);
  }
  in.charge(self.size() * 4);
  if (name == "upper") return in.text(with_case(self, Case::upper));
  if (name == "lower") return in.text(with_case(self, Case::lower));
  if (name == "title") return in.text(with_case(self, Case::title));
  if (name == "capitalize") return in.text(with_case(self, Case::capitalize));
  return is_class(in, self, name);
}

}  // namespace

Value call_text_method(Interpreter& in, const MarkedText& self, const std::string& name, Arguments& arguments) {
  if (!self.is_html()) return call_plain_method(in, self, name, arguments);
  escape_arguments(in, name, arguments);
  return as_html(in, call_plain_method(in, self, name, arguments));
}

}  // namespace hadal::jinja

// Spelling: many ways to write one sign become one, and what only sets type goes.
#include <array>

#include "base/utf8.h"
#include "grading/maths_value.h"

namespace hadal::grading {
namespace {

struct Spelling {
  std::string_view from, to;
};

// Longer ones before their beginnings. Commands end where letters end (replace_command looks).
constexpr Spelling kCommands[] = {
    {"\\left", ""},         {"\\right", ""},        {"\\bigl", ""},         {"\\bigr", ""},
    {"\\Bigl", ""},         {"\\Bigr", ""},         {"\\big", ""},          {"\\Big", ""},
    {"\\bigg", ""},         {"\\Bigg", ""},         {"\\quad", " "},        {"\\qquad", " "},
    {"\\displaystyle", ""}, {"\\textstyle", ""},    {"\\dfrac", "\\frac"},  {"\\tfrac", "\\frac"},
    {"\\cfrac", "\\frac"},  {"\\mathrm", "\\text"}, {"\\textbf", "\\text"}, {"\\textit", "\\text"},
    {"\\textrm", "\\text"}, {"\\mbox", "\\text"},   {"\\mathbf", "\\text"}, {"\\operatorname", "\\text"},
    {"\\leq", "\\le"},      {"\\leqslant", "\\le"}, {"\\geq", "\\ge"},      {"\\geqslant", "\\ge"},
    {"\\neq", "\\ne"},      {"\\times", "*"},       {"\\cdot", "*"},        {"\\div", "/"},
    {"\\lbrace", "\\{"},    {"\\rbrace", "\\}"},    {"\\lbrack", "["},      {"\\rbrack", "]"},
    {"\\degree", ""},       {"\\lvert", "|"},       {"\\rvert", "|"},       {"\\varnothing", "\\emptyset"},
    {"\\lt", "<"},          {"\\gt", ">"}};

constexpr Spelling kSigns[] = {{"^{\\circ}", ""},
                               {"^\\circ", ""},
                               {"{,}", ","},
                               {"\\!", ""},
                               {"\\,", " "},
                               {"\\;", " "},
                               {"\\:", " "},
                               {"\\ ", " "},
                               {"~", " "},
                               {"\\$", ""},
                               {"$", ""},
                               {"\\%", "%"},
                               {"\\(", ""},
                               {"\\)", ""},
                               {"\\[", ""},
                               {"\\]", ""},
                               {"\u2212", "-"},
                               {"\u2013", "-"},
                               {"\u00d7", "*"},
                               {"\u00b7", "*"},
                               {"\u22c5", "*"},
                               {"\u00f7", "/"},
                               {"\u2044", "/"},
                               {"\u03c0", "\\pi "},
                               {"\u221e", "\\infty "},
                               {"\u2264", "\\le "},
                               {"\u2265", "\\ge "},
                               {"\u2260", "\\ne "},
                               {"\u221a", "\\sqrt "},
                               {"\u222a", "\\cup "},
                               {"\u00b1", "\\pm "},
                               {"\u00b0", ""},
                               {"\u00b2", "^2"},
                               {"\u00b3", "^3"},
                               {"\u00bd", "\\frac12"},
                               {"\u00bc", "\\frac14"},
                               {"\u00be", "\\frac34"},
                               {"\u00a0", " "},
                               {"\u2009", " "},
                               {"\u202f", " "},
                               {"\u2032", "'"}};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The spelling that stands at the beginning of the text, or nothing.
const Spelling* spelling_at(std::string_view text) {
  if (text.front() == '\\' && text.size() > 1 && is_letter(text[1])) {
    size_t end = 1;
    while (end < text.size() && is_letter(text[end])) ++end;
    for (const Spelling& command : kCommands)
      if (text.substr(0, end) == command.from) return &command;
    return nullptr;
  }
  for (const Spelling& sign : kSigns)
    if (text.starts_with(sign.from)) return &sign;
  return nullptr;
}

}  // namespace

std::string clean_maths(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (const Spelling* spelling = spelling_at(text)) {
      out += spelling->to;
      text.remove_prefix(spelling->from.size());
      // "\times3" is a command with a number behind; "\dfrac x" stays apart
      continue;
    }
    const char c = text.front();
    out += c == '\t' || c == '\n' || c == '\r' ? ' ' : c;
    text.remove_prefix(1);
  }
  const size_t begin = out.find_first_not_of(' ');
  if (begin == std::string::npos) return "";
  out = out.substr(begin, out.find_last_not_of(' ') + 1 - begin);
  if (out.size() > 1 && out.back() == '.' && out[out.size() - 2] != '.') out.pop_back();
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace hadal::grading

// Mathematical answers as values: numbers, expressions, equations, intervals, sets, tuples, matrices, words, parsed
// from what people and models write ("\frac{3}{4}", "0.75", "x = 5", "[0, 1)", "\text{yes}"). Parsing is bounded:
// bytes, depth, nodes, digits and exponents, before anything is computed.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::grading {

struct MathsNode;
using MathsPtr = std::unique_ptr<MathsNode>;

enum class MathsKind : uint8_t {
  number,      // text: digits with an optional point
  name,        // a variable or a named constant ("x", "\pi")
  sum,         // parts, all added
  product,     // parts, all multiplied
  quotient,    // parts[0] / parts[1]
  negative,    // of parts[0]
  power,       // parts[0] ^ parts[1]
  root,        // parts[1] is the degree, or absent
  factorial,   // of parts[0]
  function,    // text: its name; parts: its arguments
  plus_minus,  // parts[0] +- parts[1]
  percent,     // of parts[0]
  unit,        // parts[0] of text: a number with words behind or in front of it
  tuple,       // (a, b, ...)
  set,         // {a, b, ...}
  list,        // a, b, ... without brackets
  interval,    // parts: two ends; text: "[)" and so on
  united,      // parts: sets and intervals
  relation,    // text: = < <= > >= !=, parts: the sides; a <= b < c has three and text "<=<"
  matrix,      // parts: tuples, its rows
  words,       // text: what stands in \text{}, or letters that are no product of variables
  ratio,       // a : b
  based        // parts[0] in base parts[1]: 204_5
};

struct MathsNode {
  MathsKind kind = MathsKind::number;
  std::string text;
  std::vector<MathsPtr> parts;
};

struct MathsLimits {
  int64_t bytes = 4096, depth = 60, nodes = 2000;
};

// Nothing for what is no answer: empty, too long, too deep, unbalanced, unknown. `text` is UTF-8 or not.
MathsPtr parse_maths(std::string_view text, const MathsLimits& limits = {});

// What is read: white space, \left, \!, \displaystyle, dollars, units behind a number, a full stop at the end and the
// like are taken away, minus signs of Unicode become '-', thousands marks go. For tests and pages.
std::string clean_maths(std::string_view text);

}  // namespace hadal::grading

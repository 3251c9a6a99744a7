// Numbers as Python's format() and % lay them out: sign, base, precision, thousands, fill and width.
#pragma once
#include <cstdint>
#include <string>

#include "jinja/interpreter.h"

namespace hadal::jinja {

// [[fill]align][sign][#][0][width][grouping][.precision][type]
struct FormatSpec {
  std::string fill = " ";  // one character
  char align = 0;          // '<', '>', '^', '=' (between sign and digits); 0: as the kind of value does
  char sign = 0;           // '+', ' ' or '-'
  bool alternate = false, zero = false;
  int64_t width = 0, precision = -1;  // in characters; -1: not given
  char grouping = 0;                  // ',' or '_'
  char type = 0;
  bool empty = true;  // nothing was given
};

FormatSpec parse_format_spec(Interpreter& in, const std::string& text);

// types: d, b, o, x, X, c, n. Errors name a type that does not go with whole numbers.
std::string integer_in_format(Interpreter& in, Integer value, const FormatSpec& spec);
// types: none (as repr), e, E, f, F, g, G, n, %.
std::string float_in_format(Interpreter& in, double value, const FormatSpec& spec);
// Cut to the precision and filled up to the width; what is filled in is the template's.
MarkedText text_in_format(Interpreter& in, const MarkedText& text, const FormatSpec& spec);

}  // namespace hadal::jinja

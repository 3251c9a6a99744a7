// Methods of str that fill a text up, change all its letters or ask of what kind they are.
#pragma once
#include "jinja/interpreter.h"

namespace hadal::jinja {

bool is_layout_method(const std::string& name);  // center, ljust, rjust, zfill, expandtabs, swapcase, casefold
Value call_layout_method(Interpreter& in, const MarkedText& self, const std::string& name, Arguments& arguments);
Value is_class(Interpreter& in, const MarkedText& self, const std::string& name);  // isalpha, isdigit, ...

}  // namespace hadal::jinja

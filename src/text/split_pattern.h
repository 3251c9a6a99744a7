// Split expressions of tokenizer.json are written for Oniguruma; we run them on PCRE2. Where both differ the expression is
// rewritten (white space: PCRE2 counts U+180E) or refused by name (\w \W \b \B, nested classes, && in a class, whose meaning
// is not the same), so that no file is silently cut in another way than by its makers.
#pragma once
#include <string>
#include <string_view>

namespace hadal {

std::string split_pattern_for_pcre2(std::string_view expression);

}  // namespace hadal

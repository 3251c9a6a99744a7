// PCRE2 for UTF-8, and how std::unique_ptr frees what it makes.
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace hadal {

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

}  // namespace hadal

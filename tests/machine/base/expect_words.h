// Words that a text holds.
#pragma once
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace hadal {

inline void expect_words(const std::string& text, const std::vector<std::string>& words) {
  for (const std::string& word : words)
    EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' not in: " << text;
}

inline void expect_words(const std::string& text, std::initializer_list<const char*> words) {
  expect_words(text, std::vector<std::string>(words.begin(), words.end()));
}

}  // namespace hadal

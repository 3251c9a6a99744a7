// libFuzzer: bytes up to the first zero are an evaluation file, those behind it a text. Only Error may come out; a file
// that is read has items, and its own first item stands in a text that is that item, if it has words.
// room: data
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/decontaminate.h"
#include "data/evaluation_items.h"
#include "data/words.h"
#include "fuzz/scratch_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  static const Folder folder;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t zero = all.find('\0');
  write(folder.path / "t.jsonl", std::string(all.substr(0, zero)));
  DecontaminateConfig config;
  config.files = {(folder.path / "t.jsonl").string()}, config.ngram = 5, config.min_words = 2;
  const auto words = [&](std::string_view text) { return data::normal_words(data::characters_of(text), false); };
  try {
    const data::Decontaminator decontaminator(config);
    if (decontaminator.empty()) std::abort();
    if (zero != std::string_view::npos) {
      decontaminator.find(words(all.substr(zero + 1)));
      data::normal_words(data::characters_of(all.substr(zero + 1)), true);
    }
    data::read_evaluation_items(config, [&](data::EvaluationItem&& item) {
      for (const std::string& part : item.parts)
        if (const auto own = words(part); !own.empty() && !decontaminator.find(own)) std::abort();
    });
  } catch (const Error&) {
  }
  return 0;
}

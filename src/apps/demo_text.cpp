// The generators, and the search for real text.
#include "apps/demo_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/random.h"

namespace hadal {

namespace {

using Words = std::vector<const char*>;

std::string line_of(const std::string& text) { return json_text(nlohmann::json{{"text", text}}) + "\n"; }

class Dice {
 public:
  Dice(uint64_t seed, const char* use, int64_t document) : stream_{seed, stream_id(use, uint64_t(document)), 0} {}
  int64_t number(int64_t low, int64_t high) { return low + int64_t(stream_.below(uint64_t(high - low + 1))); }
  const char* pick(const Words& words) { return words[stream_.below(words.size())]; }

 private:
  RandomStream stream_;
};

std::string exercise(Dice& dice) {
  const int64_t kind = dice.number(0, 4);
  if (kind == 0) {
    const int64_t a = dice.number(0, 99), b = dice.number(0, 99);
    return fmt::format("{} + {} = {}\n", a, b, a + b);
  }
  if (kind == 1) {
    const int64_t a = dice.number(0, 99), b = dice.number(0, a);
    return fmt::format("{} - {} = {}\n", a, b, a - b);
  }
  if (kind == 2) {
    const int64_t a = dice.number(0, 12), b = dice.number(0, 12);
    return fmt::format("{} * {} = {}\n", a, b, a * b);
  }
  if (kind == 3) {
    const int64_t b = dice.number(1, 12), q = dice.number(0, 12);
    return fmt::format("{} / {} = {}\n", b * q, b, q);
  }
  const int64_t have = dice.number(2, 20), more = dice.number(2, 20);
  static const Words kNames = {"Ada", "Ben", "Chloe", "Dario", "Emil", "Fatima", "Grace", "Hugo"};
  static const Words kThings = {"apples", "marbles", "books", "shells", "stamps", "pencils"};
  const char* name = dice.pick(kNames);
  const char* thing = dice.pick(kThings);
  return fmt::format("{} has {} {} and gets {} more. Now {} has {} {}.\n", name, have, thing, more, name, have + more,
                     thing);
}

std::string story(Dice& dice) {
  static const Words kHeroes = {"a small fox",   "an old fisherman", "a girl named Mira",     "a boy named Tom",
                                "a tired robot", "a brave mouse",    "the lighthouse keeper", "a young baker"};
  static const Words kPlaces = {"by the sea",         "at the edge of a dark forest",
                                "in a quiet village", "on a high mountain",
                                "in a busy harbour",  "near a slow river"};
  static const Words kFinds = {"a silver key",        "a broken clock", "a letter without a name",
                               "a little blue stone", "an empty boat",  "a map of the stars"};
  static const Words kFeelings = {"afraid", "curious", "happy", "puzzled", "proud", "lonely"};
  static const Words kFriends = {"an owl",     "the neighbour's dog", "a stranger with a red hat",
                                 "the miller", "a talking crow",      "an old teacher"};
  static const Words kAdvice = {"Wait until the morning", "Follow the sound of the water", "Ask the wind",
                                "Look where nobody looks", "Give it back to the one who lost it"};
  static const Words kEnds = {"and went home before the rain began", "and never told anyone about it",
                              "and shared a warm loaf of bread with everybody", "and slept better than ever before",
                              "and smiled whenever the moon was full"};
  static const Words kTimes = {"morning", "evening", "winter day", "summer night"};
  const std::string hero = dice.pick(kHeroes), find = dice.pick(kFinds), friend_ = dice.pick(kFriends);
  const bool she = hero.find("girl") != std::string::npos,
             person = she || hero.find("boy") != std::string::npos || hero.find("man") != std::string::npos ||
                      hero.find("keeper") != std::string::npos || hero.find("baker") != std::string::npos;
  const std::string pronoun = she ? "She" : person ? "He" : "It";
  std::string text = fmt::format("Once upon a time there lived {} {}. ", hero, dice.pick(kPlaces));
  text += fmt::format("One {} {} found {}. ", dice.pick(kTimes),
                      pronoun == "It"    ? "it"
                      : pronoun == "She" ? "she"
                                         : "he",
                      find);
  text += fmt::format("{} was {} and did not know what to do. ", pronoun, dice.pick(kFeelings));
  text += fmt::format("Then {} came along. \"{},\" said {}. ", friend_, dice.pick(kAdvice), friend_);
  if (dice.number(0, 1))
    text += fmt::format("They walked for {} days and counted {} clouds. ", dice.number(2, 9), dice.number(10, 99));
  text += fmt::format("In the end {} understood what {} was for, {}.\n", hero, find, dice.pick(kEnds));
  return text;
}

}  // namespace

std::string arithmetic_documents(int64_t documents, uint64_t seed) {
  std::string out;
  for (int64_t i = 0; i < documents; ++i) {
    Dice dice(seed, "demo.arithmetic", i);
    std::string text;
    for (int64_t line = dice.number(6, 16); line > 0; --line) text += exercise(dice);
    out += line_of(text);
  }
  return out;
}

std::string story_documents(int64_t documents, uint64_t seed) {
  std::string out;
  for (int64_t i = 0; i < documents; ++i) {
    Dice dice(seed, "demo.stories", i);
    out += line_of(story(dice));
  }
  return out;
}

std::vector<std::string> standard_library_files(int64_t max_bytes) {
  namespace fs = std::filesystem;
  std::vector<fs::path> roots;
  std::error_code error;
  for (const char* base : {"/usr/lib", "/usr/local/lib"}) {
    for (const auto& entry : fs::directory_iterator(base, error)) {
      const auto name = entry.path().filename().string();
      if (name.rfind("python3.", 0) == 0 && fs::exists(entry.path() / "argparse.py", error))
        roots.push_back(entry.path());
    }
    if (!roots.empty()) break;
  }
  if (roots.empty()) return {};
  std::sort(roots.begin(), roots.end(), [](const fs::path& a, const fs::path& b) {
    const auto x = a.filename().string(), y = b.filename().string();
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  });
  std::vector<std::string> found;
  for (const auto& file : list_files(roots.back().string())) {
    const auto text = file.lexically_relative(roots.back()).string();
    const bool unwanted = text.find("test") != std::string::npos || text.find("-packages") != std::string::npos ||
                          text.find("encodings") != std::string::npos || text.find("lib2to3") != std::string::npos ||
                          text.find("__pycache__") != std::string::npos;
    if (file.extension() == ".py" && !unwanted) found.push_back(file.string());
  }
  std::sort(found.begin(), found.end());
  int64_t total = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    total += int64_t(fs::file_size(found[i], error));
    if (total > max_bytes) {
      found.resize(i);
      break;
    }
  }
  return found;
}

}  // namespace hadal

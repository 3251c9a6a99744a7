// Evaluation items in training text: planted ones are found whatever their case, spaces and punctuation; paraphrases
// are not. Beside a search that compares words one by one.
#include "data/decontaminate.h"

#include "config/config_io.h"
#include "data/data_testing.h"
#include "data/dialogue_check.h"
#include "data/dialogue_testing.h"
#include "data/evaluation_items.h"
#include "data/removed.h"
#include "data/words.h"

namespace hadal::data {
namespace {

const std::string kQuestion =
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did "
    "Natalia sell altogether in April and May?";
const std::string kAnswer = "Natalia sold 48/2 = 24 clips in May. She sold 48+24 = 72 clips altogether.";
const std::string kAround = "This is a page of a blog about nothing in particular, and it goes on for a while. ";

std::string item_line(const std::string& question, const std::string& answer) {
  const auto text = [](const std::string& words) { return json_line(words).substr(9, json_line(words).size() - 11); };
  return "{\"question\": " + text(question) + ", \"answer\": " + text(answer) + "}\n";
}

std::optional<Contamination> found_in(const Decontaminator& decontaminator, const std::string& text) {
  return decontaminator.find(normal_words(characters_of(text), decontaminator.config().fold_numbers));
}

struct Planted {
  TempDir dir;
  DecontaminateConfig config;
  explicit Planted(const std::string& content = item_line("Who was it?", "The butler") + item_line(kQuestion, kAnswer),
                   const std::string& name = "test.jsonl") {
    write_text(dir / name, content);
    config.files = {(dir / name).string()};
  }
  bool finds(const std::string& text) const { return found_in(Decontaminator(config), text).has_value(); }
};

TEST(Decontaminate, PlantedItemsAreFoundAndParaphrasesAreNot) {
  const Planted planted;
  EXPECT_TRUE(planted.finds(kAround + kQuestion + kAround));
  EXPECT_TRUE(planted.finds(kAround + kAnswer)) << "answers as well as questions";
  EXPECT_TRUE(planted.finds(kAround + kQuestion.substr(0, 80))) << "a part of thirteen words";
  std::string shouted = kQuestion, spread, bare;
  for (char& c : shouted) c = char(c >= 'a' && c <= 'z' ? c - 32 : c);
  for (const char c : kQuestion) spread += c == ' ' ? " \n\t " : std::string(1, c);
  for (const char c : kQuestion) bare += c == '.' || c == ',' ? "; -" : std::string(1, c);
  EXPECT_TRUE(planted.finds(kAround + shouted));
  EXPECT_TRUE(planted.finds(spread + kAround));
  EXPECT_TRUE(planted.finds(kAround + bare));
  EXPECT_FALSE(planted.finds(kAround + kAround));
  EXPECT_FALSE(
      planted.finds("In April 48 friends bought clips from Natalia. In May it was half of that. What is the sum of "
                    "the clips that she sold in the two months?"))
      << "a paraphrase: no thirteen words in a row are the item's";
}

TEST(Decontaminate, OtherNumbersAreAnotherItemUnlessNumbersAreFolded) {
  Planted planted;
  std::string other = kQuestion;
  other.replace(other.find("48"), 2, "1,250");
  const std::string middle = other.substr(0, other.find("as many"));
  EXPECT_FALSE(planted.finds(middle));
  planted.config.fold_numbers = true;
  EXPECT_TRUE(planted.finds(middle));
}

TEST(Decontaminate, ShortItemsAreFoundWholeAndEvenShorterOnesOnlyAlone) {
  const Planted planted(item_line("What is the capital of Norway?", "Oslo"));
  EXPECT_TRUE(planted.finds(kAround + "what is the capital of norway " + kAround));
  EXPECT_FALSE(planted.finds(kAround + "what is the capital of sweden " + kAround));
  EXPECT_FALSE(planted.finds("She lives in Oslo, and has done so for years."));
  EXPECT_TRUE(planted.finds("OSLO!"));
  const auto found =
      found_in(Decontaminator(planted.config), kAround + "What is the capital of Norway? Oslo. " + kAround);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->whole_item);
  EXPECT_EQ(found->words, 7) << "question and answer joined are the longest that is there";
}

// Word by word: the longest number of words up to n, at the first place, that are n of an item or all of one.
std::string by_hand(const std::vector<std::vector<std::string>>& items, const std::vector<std::string>& text, size_t n,
                    size_t least) {
  for (size_t k = std::min(n, text.size()); k > 0; --k)
    for (size_t at = 0; at + k <= text.size(); ++at)
      for (size_t i = 0; i < items.size(); ++i)
        for (size_t from = 0; from + k <= items[i].size(); ++from) {
          if (k < n && (items[i].size() != k || (k < least && text.size() != k))) continue;
          if (std::equal(text.begin() + int64_t(at), text.begin() + int64_t(at + k), items[i].begin() + int64_t(from)))
            return fmt::format("{} words at {}", k, at);
        }
  return "none";
}

TEST(Decontaminate, FindsWhatASearchWordByWordFinds) {
  RandomStream random{1, stream_id("test.decontaminate")};
  const auto words = [&](uint64_t n) {
    std::vector<std::string> list;
    for (; n > 0; --n) list.emplace_back(1, char('a' + random.below(7)));
    return list;
  };
  const auto joined = [](const std::vector<std::string>& list) {
    std::string text;
    for (const std::string& word : list) text += word + " ";
    return text;
  };
  int64_t met[3] = {0, 0, 0};  // nothing, whole items, groups
  for (int round = 0; round < 150; ++round) {
    std::vector<std::vector<std::string>> items;
    std::string content;
    for (uint64_t i = 1 + random.below(6); i > 0; --i)
      content += joined(items.emplace_back(words(1 + random.below(14)))) + "\n";
    Planted planted(content, "items.txt");
    planted.config.ngram = 8, planted.config.min_words = 4;
    const Decontaminator decontaminator(planted.config);
    for (int t = 0; t < 10; ++t) {
      auto text = words(random.below(20));
      const auto& item = items[random.below(items.size())];
      for (size_t i = random.below(item.size()); i < item.size() && random.below(12) > 0; ++i) text.push_back(item[i]);
      for (const std::string& word : words(1 + random.below(5))) text.push_back(word);
      const std::string expected = by_hand(items, text, 8, 4);
      const auto found = found_in(decontaminator, joined(text));
      EXPECT_EQ(found ? fmt::format("{} words at {}", std::min<int64_t>(found->words, 8), found->at) : "none",
                expected);
      ++met[!found ? 0 : found->whole_item ? 1 : 2];
    }
  }
  for (const int64_t n : met) EXPECT_GT(n, 50);
}

TEST(Decontaminate, ItemsAreReadFromListsLinesAndText) {
  const std::string list =
      "[" + item_line(kQuestion, kAnswer) + ", {\"question\": \"one\", \"choices\": [\"x\", \"" + kAround + "\"]}]";
  for (const auto& [name, content] : {std::pair<std::string, std::string>{"a.json", list},
                                      {"b.json", "{\n \"name\": \"t\",\n \"examples\": " + list + "\n}"},
                                      {"c.txt", "a line\n" + kQuestion + "\n\n" + kAround + "\n"},
                                      {"d.jsonl", item_line(kQuestion, kAround)}}) {
    const Planted planted(content, name);
    EXPECT_TRUE(planted.finds("Well. " + kQuestion)) << name;
    EXPECT_TRUE(planted.finds(kAround + " Well.")) << name;
  }
  const Planted zipped;
  ASSERT_EQ(std::system(("gzip '" + (zipped.dir / "test.jsonl").string() + "'").c_str()), 0);
  DecontaminateConfig config;
  config.files = {(zipped.dir / "*.gz").string()};
  config.fields = {"answer"};
  EXPECT_TRUE(found_in(Decontaminator(config), kAround + kAnswer));
  EXPECT_FALSE(found_in(Decontaminator(config), kAround + kQuestion)) << "fields: the answer alone";
  EXPECT_EQ(Decontaminator(config).summary(),
            "2 evaluation items of 1 file; 1 of fewer than 6 words are found only where they are all of a document");
}

TEST(Decontaminate, FilesThatCannotBeUsedAreRefusedByName) {
  const auto refused = [](ErrorKind kind, const std::vector<std::string>& parts, const std::string& content,
                          const std::string& name) {
    const Planted planted(content, name);
    expect_error(kind, parts, [&] { const Decontaminator one(planted.config); });
  };
  refused(ErrorKind::corrupt, {"test.jsonl' line 2", "not valid JSON"}, item_line("q", "a") + "{\"question\": \"x\n",
          "test.jsonl");
  refused(ErrorKind::corrupt, {"test.json'", "not valid JSON"}, "[{\"question\": 1}, ", "test.json");
  refused(ErrorKind::invalid, {"test.txt' holds no evaluation items"}, "\n \n", "test.txt");
  refused(ErrorKind::invalid, {"test.pdf' is a PDF document"}, "%PDF-1.4 ", "test.pdf");
  refused(ErrorKind::invalid, {"x.bin", "binary"}, std::string("ab\0cd", 5), "x.bin");
  Planted planted;
  planted.config.fields = {"prompt", "target"};
  expect_error(ErrorKind::invalid, {"none has a text in 'prompt', 'target'"},
               [&] { const Decontaminator one(planted.config); });
  planted.config.files = {(planted.dir / "absent.jsonl").string()};
  expect_error(ErrorKind::not_found, {"absent.jsonl"}, [&] { const Decontaminator one(planted.config); });
  Config config;
  config.data.decontaminate.ngram = 10;
  expect_error(ErrorKind::invalid, {"data.decontaminate", "files"}, [&] { validate(config); });
  config.data.decontaminate = {.files = {"x"}, .ngram = 8, .min_words = 9};
  expect_error(ErrorKind::invalid, {"min_words = 9 is above ngram = 8"}, [&] { validate(config); });
}

TEST(Decontaminate, ACorpusLosesDocumentsWithItemsAndShowsWhich) {
  const Planted planted;
  write_jsonl(planted.dir / "a.jsonl", {kAround, kAround + kQuestion, "short", "Oh, it is the butler."});
  DataConfig config;
  config.sources = {source_of("a", planted.dir / "a.jsonl")};
  config.sources[0].rules = {"gopher_quality"};
  config.sources[0].limits.gopher_quality = {.min_words = 4, .min_stop_words = 0};
  config.decontaminate = planted.config;
  const Corpus corpus = Corpus::scan(config, kQuiet);
  EXPECT_EQ(corpus.counts()[0].by_rule.at("decontaminate.ngram").documents, 1);
  EXPECT_EQ(corpus.counts()[0].by_rule.at("gopher_quality.min_words").documents, 1);
  EXPECT_EQ(corpus.facts(0).fate, Fate::training);
  EXPECT_EQ(corpus.notes().size(), 1u);
  const std::string text = removed_text(removed_documents(config, "decontaminate", 5, kQuiet));
  for (const char* part : {"line 2\n  decontaminate.ngram: 31, limit 13", "evaluation item: '",
                           "test.jsonl' line 2: Natalia sold", "shared: natalia sold clips to 48 of"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  config.sources[0].paths.push_back((planted.dir / "./test.jsonl").string());
  expect_error(ErrorKind::invalid, {"test.jsonl' is an evaluation file", "source 'a'"},
               [&] { Corpus::scan(config, kQuiet); });
}

TEST(Decontaminate, DialoguesLoseItemsTooAndACheckNamesThem) {
  const Planted planted;
  const std::string clean = messages_line({{"user", "Hello, how are you today?"}, {"assistant", "Fine."}});
  const std::string copied = messages_line({{"user", kQuestion}, {"assistant", "72, I think."}});
  write_text(planted.dir / "chats.jsonl", clean + "\n" + copied + "\n");
  DataConfig config;
  config.sources = {source_of("chats", planted.dir / "chats.jsonl")};
  config.sources[0].format = SourceFormat::messages;
  config.decontaminate = planted.config, config.holdout_fraction = 0;
  const Corpus corpus = Corpus::scan(config, kQuiet);
  EXPECT_EQ(corpus.counts()[0].filtered, 1);
  EXPECT_EQ(corpus.counts()[0].training, 1);
  const Decontaminator decontaminator(planted.config);
  const Tokenizer tokenizer = byte_tokenizer();
  DialogueCheckOptions options;
  options.source = config.sources[0], options.evaluation = &decontaminator;
  const DialogueCheck found =
      check_dialogues(planted.dir / "chats.jsonl", tokenizer, DialogueWriter(tokenizer, ""), options);
  EXPECT_EQ(found.counts[size_t(Lint::contaminated)], 1);
  EXPECT_NE(found.text(options).find("line 2: contaminated: shares 31 words with '"), std::string::npos)
      << found.text(options);
}

TEST(Decontaminate, ABuildIsMadeAgainWhereEvaluationFilesChanged) {
  Fixture f(one_source({kAround, kAround + kQuestion, kAround + kAnswer}));
  write_text(f.directory / "test.jsonl", item_line(kQuestion, "?"));
  f.config.data.decontaminate.files = {(f.directory / "test.jsonl").string()};
  EXPECT_EQ(f.prepare().shards.index().counts[0].training, 2);
  EXPECT_FALSE(f.prepare().built);
  write_text(f.directory / "test.jsonl", item_line(kQuestion, kAnswer));
  EXPECT_EQ(f.prepare().shards.index().counts[0].training, 1);
}

}  // namespace
}  // namespace hadal::data

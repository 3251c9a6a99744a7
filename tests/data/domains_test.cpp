// Which domain a target belongs to.
#include "data/domains.h"

#include "data/data_testing.h"

namespace hadal::data {
namespace {

DataConfig config_of(const std::vector<std::pair<std::string, std::string>>& sources) {
  DataConfig config;
  for (const auto& [name, domain] : sources) config.sources.push_back({.name = name, .domain = domain, .paths = {"x"}});
  return config;
}

TEST(Domains, AreTheSourcesNamesUnlessTheySayOthers) {
  const Domains domains = domains_of(config_of({{"web", ""}, {"python", "code"}, {"books", "web"}, {"c", "code"}}));
  EXPECT_EQ(domains.names, (std::vector<std::string>{"web", "code"}));
  EXPECT_EQ(domains.of_source, (std::vector<int32_t>{0, 1, 0, 1}));
  EXPECT_TRUE(domains.several());
  EXPECT_FALSE(domains_of(config_of({{"a", "all"}, {"b", "all"}})).several());
}

// Of every target the loader says the domain of the source whose text it is, found again by the alphabet.
TEST(Domains, OfATargetIsThatOfTheTextThatItIsFrom) {
  std::vector<std::string> small, capital;
  for (int i = 0; i < 40; ++i) small.push_back(std::string(size_t(3 + i), 'a')), capital.push_back(small[size_t(i)]);
  for (std::string& text : capital)
    for (char& c : text) c = 'A';
  for (const DocumentMask mask : {DocumentMask::none, DocumentMask::document}) {
    Fixture f({small, capital});
    f.config.data.sequence_length = 24;
    f.config.data.document_mask = mask;
    f.config.data.holdout_fraction = 0;
    for (size_t s = 0; s < 2; ++s) f.config.data.sources[s].domain = s == 0 ? "low" : "high";
    const Prepared p = f.prepare();
    Loader loader(p.shards, p.tokenizer, f.config.data);
    const int32_t low = p.tokenizer.encode("a").front(), high = p.tokenizer.encode("A").front();
    int64_t seen[2] = {}, borders = 0;
    for (const Sequence& sequence : loader.next(30).sequences) {
      ASSERT_EQ(sequence.domains.size(), sequence.targets.size());
      for (size_t i = 0; i < sequence.targets.size(); ++i) {
        if (sequence.targets[i] != low && sequence.targets[i] != high) continue;
        EXPECT_EQ(sequence.domains[i], sequence.targets[i] == low ? 0 : 1);
        ++seen[sequence.domains[i]];
        borders += sequence.tokens[i] != low && sequence.tokens[i] != high;
      }
    }
    EXPECT_GT(seen[0], 50);
    EXPECT_GT(seen[1], 50);
    EXPECT_EQ(borders > 0, mask == DocumentMask::none) << "only then is a document's first letter predicted";
  }
}

TEST(Domains, OfOneCostNothing) {
  Fixture f({{"abc abc", "abd"}, {"bcd", "bce"}});
  f.config.data.sequence_length = 8;
  for (auto& source : f.config.data.sources) source.domain = "all";
  const Prepared p = f.prepare();
  for (const Sequence& sequence : Loader(p.shards, p.tokenizer, f.config.data).next(4).sequences)
    EXPECT_TRUE(sequence.domains.empty());
}

}  // namespace
}  // namespace hadal::data

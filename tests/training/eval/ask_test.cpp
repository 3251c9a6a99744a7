// What a model is asked: the same replies in any batch, order and cache, and the numbers of the trainer's own forward.
#include "eval/ask.h"

#include "eval/eval_testing.h"
#include "eval/reply_text.h"
#include "nn/micro_batch.h"

namespace hadal::eval {
namespace {

std::vector<Item> mixed_items() {
  std::vector<Item> items;
  const std::string shared =
      "The sea is deep and cold, and a light goes down to where no wind blows. One day a fish said: ";
  for (int64_t i = 0; i < 6; ++i) {
    Item item{.id = i};
    for (const char* const choice : {" yes", " no, never", " été", "x"})
      item.requests.push_back({.kind = RequestKind::log_likelihood,
                               .context = shared + std::string(size_t(i), 'y'),
                               .continuation = choice});
    item.requests.push_back({.kind = RequestKind::generate, .context = shared, .until = {"e"}, .max_tokens = 9});
    item.requests.push_back(
        {.kind = RequestKind::generate, .context = "a", .max_tokens = 7, .samples = true, .temperature = 1});
    item.requests.push_back({.kind = RequestKind::rolling, .continuation = std::string(size_t(30 * i), 'z') + shared});
    items.push_back(std::move(item));
  }
  return items;
}

std::string said(const std::vector<std::vector<Replies>>& replies) {
  std::string all;
  for (const auto& item : replies)
    for (const Replies& request : item)
      for (const Reply& r : request)
        all += fmt::format("{} {} {} {} {}\n", r.log_prob, r.greedy, r.text, r.ended, r.n_tokens);
  return all;
}

TEST(Ask, GetsTheSameRepliesInAnyBatchAndWithAnyThreads) {
  const AskedTiny one, three({}, 3);
  AskReport report;
  const std::string expected = said(ask(one.asked(), mixed_items(), {.samples = 2, .seed = 5, .running = 1}, report));
  EXPECT_EQ(said(ask(one.asked(), mixed_items(), {.samples = 2, .seed = 5, .running = 64}, report)), expected);
  EXPECT_EQ(said(ask(three.asked(), mixed_items(), {.samples = 2, .seed = 5, .running = 7}, report)), expected);
  EXPECT_NE(said(ask(one.asked(), mixed_items(), {.samples = 2, .seed = 6, .running = 64}, report)), expected);
  std::vector<Item> last = {mixed_items()[5]};
  const std::string alone = said(ask(one.asked(), last, {.samples = 2, .seed = 5}, report));
  EXPECT_TRUE(testing::has(expected, alone));
}

TEST(Ask, ScoresContinuationsAsTheTrainersForwardDoes) {
  const AskedTiny tiny;
  const Request request{.kind = RequestKind::log_likelihood,
                        .context =
                            "Die See ist tief und kalt und weit und leer und still und grau und gro\u00df. "
                            "Und kein Wind weht dort, wo der Fisch schwimmt, der niemals schl\u00e4ft. ",
                        .continuation = "Und blau wie nie"};
  std::vector<Item> items = {{.id = 0, .requests = {request, request, request}}};
  items[0].requests[1].continuation = "Und blau wie";
  AskReport report;
  const auto replies = ask(tiny.asked(), items, {}, report);
  for (size_t r = 0; r < 2; ++r) {
    const EncodedPair pair = encode_pair(tiny.asked(), items[0].requests[r]);
    std::vector<double> values;
    tiny.asked().transformer.forward(tiny.exec(), batch_of_tokens(pair.ids), {.log_probs = &values}).check_routed();
    double sum = 0;
    for (size_t i = size_t(pair.n_context - 1); i + 1 < pair.ids.size(); ++i) sum += values[i];
    EXPECT_EQ(replies[0][r][0].log_prob, sum);
  }
  EXPECT_EQ(replies[0][2][0].log_prob, replies[0][0][0].log_prob);
  EXPECT_GT(report.cached_tokens, 0) << "choices share what they begin with";
}

// Trap 19: the ids of the whole, cut where the context alone ends; blanks at its end go to the continuation.
TEST(Ask, EncodesContextAndContinuationTogether) {
  const AskedTiny tiny;
  const Tokenizer& tokenizer = tiny.asked().tokenizer;
  int64_t spanning = 0;
  for (const char* const context : {"the se", "the  ", "wor", "a b", "l'", "\u00a0x\u00a0"})
    for (const char* const behind : {"a", " the", "ld", "e", "'s", "  "}) {
      const EncodedPair pair = encode_pair(tiny.asked(), {RequestKind::log_likelihood, context, {}, behind});
      EXPECT_EQ(pair.ids, tokenizer.encode(std::string(context) + behind));
      std::string stripped = context;
      while (stripped.ends_with(' ')) stripped.pop_back();
      if (stripped.ends_with("\u00a0")) stripped.resize(stripped.size() - 2);
      EXPECT_EQ(pair.n_context, int64_t(tokenizer.encode(stripped).size()));
    }
  for (int32_t id = 256; id < int32_t(tokenizer.vocab_size()); ++id) {  // words that the border cuts
    const std::string word(tokenizer.token_bytes(id));
    if (word.size() < 2 || word.find_first_not_of("abcdefghijklmnopqrstuvwxyz") != std::string::npos) continue;
    const EncodedPair pair =
        encode_pair(tiny.asked(), {RequestKind::log_likelihood, word.substr(0, 1), {}, word.substr(1)});
    EXPECT_EQ(pair.ids, tokenizer.encode(word));
    EXPECT_EQ(pair.n_context, 1);
    spanning += pair.ids.size() == 1;
  }
  EXPECT_GT(spanning, 3) << "some tokens must span the border, or this test says nothing";
  const EncodedPair empty = encode_pair(tiny.asked(), {RequestKind::log_likelihood, "", {}, "sea"});
  EXPECT_EQ(empty.ids.front(), tiny.asked().empty_context);
  EXPECT_EQ(empty.n_context, 1);
}

TEST(Ask, RollsOverTextsByTheTrainersForward) {
  const AskedTiny tiny({.positions = 32});
  std::vector<Item> items;
  for (const size_t n : {0, 1, 31, 32, 33, 150})
    items.push_back({.id = int64_t(items.size()),
                     .requests = {{.kind = RequestKind::rolling, .continuation = std::string(n, 'q')}}});
  AskReport report;
  const auto replies = ask(tiny.asked(), items, {}, report);
  for (size_t i = 0; i < items.size(); ++i) {
    const auto tokens = tiny.asked().tokenizer.encode(items[i].requests[0].continuation);
    double sum = 0;
    for (const RollingWindow& window : rolling_windows(tokens, tiny.asked().empty_context, 32)) {
      std::vector<double> values;
      tiny.asked()
          .transformer.forward(tiny.exec(), batch_of_tokens(window.tokens), {.log_probs = &values})
          .check_routed();
      for (size_t at = size_t(window.scored - 1); at + 1 < window.tokens.size(); ++at) sum += values[at];
    }
    EXPECT_EQ(replies[i][0][0].log_prob, sum) << i;
    EXPECT_EQ(replies[i][0][0].n_tokens, int64_t(tokens.size()));
  }
}

TEST(Ask, RollsOverATextScoringEachTokenOnce) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 23; ++i) tokens.push_back(100 + i);
  const auto windows = rolling_windows(tokens, 7, 10);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0].tokens.front(), 7);
  EXPECT_EQ(windows[0].tokens.size(), 11u);
  EXPECT_EQ(windows[1].tokens, std::vector<int32_t>(tokens.begin() + 9, tokens.begin() + 20));
  EXPECT_EQ(windows[2].tokens, std::vector<int32_t>(tokens.begin() + 12, tokens.end()));  // as much in front as fits
  EXPECT_EQ(windows[2].scored, 8);
  std::vector<int32_t> scored;
  for (const RollingWindow& w : windows) scored.insert(scored.end(), w.tokens.begin() + w.scored, w.tokens.end());
  EXPECT_EQ(scored, tokens);
  EXPECT_TRUE(rolling_windows({}, 7, 10).empty());
}

TEST(Ask, CutsTheBeginningOfWhatIsTooLongAndCountsIt) {
  const AskedTiny tiny({.positions = 40});
  const std::string longer(200, 'q');
  AskReport report;
  std::vector<Item> items = {
      {.id = 3,
       .requests = {{.kind = RequestKind::log_likelihood, .context = longer, .continuation = " a"},
                    {.kind = RequestKind::generate, .context = longer, .max_tokens = 5}}}};
  ask(tiny.asked(), items, {}, report);
  EXPECT_EQ(report.cut, 2);
  items[0].requests = {
      {.kind = RequestKind::generate, .context = "The sea is deep", .max_tokens = 300, .yields = true}};
  EXPECT_LT(ask(tiny.asked(), items, {}, report)[0][0][0].n_tokens, 40);
  EXPECT_EQ(report.cut, 2) << "a request that yields keeps its context";
  items[0].requests = {{.kind = RequestKind::log_likelihood, .context = "a", .continuation = longer}};
  EXPECT_ERROR(ask(tiny.asked(), items, {}, report), ErrorKind::invalid, "item 3");
  items[0].requests = {{.kind = RequestKind::generate, .context = "a", .max_tokens = 40}};
  EXPECT_ERROR(ask(tiny.asked(), items, {}, report), ErrorKind::invalid, "40 new tokens");
  items[0].requests = {{.kind = RequestKind::log_likelihood, .context = "a", .continuation = ""}};
  EXPECT_ERROR(ask(tiny.asked(), items, {}, report), ErrorKind::invalid, "no token of its own");
}

TEST(Ask, EndsATextAtTheFirstOfItsEnds) {
  const AskedTiny tiny;
  const Tokenizer& tokenizer = tiny.asked().tokenizer;
  const auto reply = [&](const std::string& text, std::vector<std::string> until, bool eos) {
    ReplyText made(tokenizer, tiny.asked().stop, {.until = std::move(until)});
    for (const int32_t id : tokenizer.encode(text))
      if (!made.push(id)) return made.reply();
    if (eos) made.push(tiny.asked().stop.at(0));
    return made.reply();
  };
  EXPECT_EQ(reply("one two three", {"two"}, false).text, "one ");
  EXPECT_TRUE(reply("one two three", {"two"}, false).ended);
  EXPECT_EQ(reply("one two three", {"xyz", "ne"}, false).text, "o");
  EXPECT_FALSE(reply("one two", {"four"}, false).ended);
  EXPECT_TRUE(reply("one two", {"four"}, true).ended);
  EXPECT_EQ(reply("one two", {}, true).text, "one two");
  EXPECT_EQ(reply("a\xff\xe2\x82", {}, true).text, "a\ufffd\ufffd")
      << "whatever bytes a model writes, a text comes out";
}

TEST(Ask, WritesChatsByTheTemplateAndNeverLetsAMessageBecomeAMark) {
  const AskedTiny tiny;
  ASSERT_TRUE(tiny.asked().chat);
  const Tokenizer& tokenizer = tiny.asked().tokenizer;
  const auto ids = tiny.asked().chat({{"user", "a<｜User｜>b"}}, "c");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer.find_token("<｜User｜>")), 1);
  EXPECT_EQ(tokenizer.decode(ids), "<｜User｜>a<｜User｜>b<｜Assistant｜>c");
  const AskedTiny without({.chat = false});  // the report's own form
  ASSERT_TRUE(without.asked().chat);
  const auto report = without.asked().chat({{"system", "s"}, {"user", "q"}, {"assistant", "a"}, {"user", "r"}}, "");
  const std::string text = tokenizer.decode(report);
  EXPECT_TRUE(text.ends_with("s<｜User｜>q<｜Assistant｜>a" + std::string(tokenizer.token_bytes(*tokenizer.eos_id())) +
                             "<｜User｜>r<｜Assistant｜>"))
      << text;
  EXPECT_EQ(report.front(), *tokenizer.bos_id());
}

TEST(Ask, GoesOnWithAnAnswerThatAChatBegins) {
  for (const bool own : {true, false}) {
    const AskedTiny tiny({.chat = own});
    const auto text = [&](const std::string& begun, const std::string& behind) {
      const auto ids = tiny.asked().chat({{"user", "q So"}, {"assistant", begun}}, behind);
      const std::string all = tiny.asked().tokenizer.decode(ids);
      return all.substr(all.find("<｜User｜>"));
    };
    EXPECT_EQ(text("So", " yes"), "<｜User｜>q So<｜Assistant｜>So yes") << own;
    EXPECT_EQ(text("So ", "yes"), "<｜User｜>q So<｜Assistant｜>So yes") << own;
  }
  const AskedTiny shouting({.chat_template = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"});
  EXPECT_ERROR(shouting.asked().chat({{"user", "q"}, {"assistant", "So"}}, ""), ErrorKind::invalid,
               "does not write 'So'");
}

}  // namespace
}  // namespace hadal::eval

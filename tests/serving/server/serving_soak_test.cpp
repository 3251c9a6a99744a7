// A server under peers that come, go, break off and reset, over a cache of a few blocks: who stays gets what it gets
// alone, and in the end nothing is held: no block, request, connection or descriptor. What peers do is drawn from
// HADAL_SEED (1), for HADAL_SECONDS or, without, some rounds each; make soak gives it two minutes.
#include <sys/socket.h>

#include <array>
#include <thread>

#include "base/clock.h"
#include "server/server_testing.h"

namespace hadal {
namespace {

enum Manner { reads_all, reads_part, leaves_at_once, sends_part, resets, says_nothing, n_manners };

uint64_t number_given(const char* name, uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

struct Asked {
  std::string path, body;
  Json alone = {};  // its choices
};

// Prompts that begin alike and not, streams and whole answers, one choice and several, of both endpoints.
std::vector<Asked> all_asked(RandomStream& random) {
  std::vector<Asked> all;
  const std::string beginning = "the sea and the land and what lies between them, of which many a tale is told; ";
  for (int i = 0; i < 24; ++i) {
    Json json = {{"max_tokens", 1 + random.below(60)}, {"seed", i}, {"stream", i % 2 == 0}, {"ignore_eos", true}};
    const std::string text = (i % 3 == 0 ? "" : beginning) + std::string(1 + random.below(60), char('a' + i % 7));
    if (i % 4 == 3)
      json["messages"] = {{{"role", "user"}, {"content", text}}};
    else
      json["prompt"] = text;
    json["n"] = 1 + i % 2;
    if (i % 8 == 1) json["prompt"] = {text, "another"}, json["logprobs"] = 2;
    all.push_back({i % 4 == 3 ? "/v1/chat/completions" : "/v1/completions", json_text(json)});
  }
  return all;
}

// What an answer says, however it is cut into events: texts by choice, or all of its choices.
Json said_by(const Answer& answer) {
  if (answer.status != 200 || !answer.whole) return answer.head + answer.body;
  if (answer.head.find("event-stream") == std::string::npos) return answer.json()["choices"];
  bool done = false;
  const auto events = events_of(answer.body, &done);
  return done ? Json(texts_of(events)) : Json(answer.body);
}

class SoakingPeers {
 public:
  SoakingPeers(const Tiny& tiny, const std::vector<Asked>& asked, uint64_t seed, double until)
      : tiny_(tiny), asked_(asked), seed_(seed), until_(until) {}

  void run(int thread) {
    RandomStream random{seed_, stream_id("test.serving.soak"), uint64_t(thread) << 32};
    for (int round = 0; wrong == 0 && (until_ > 0 ? steady_seconds() < until_ : round < 40); ++round) one(random);
  }
  std::array<std::atomic<int64_t>, n_manners> n = {};  // by manner
  std::atomic<int64_t> wrong = 0;

 private:
  void one(RandomStream& random) {
    const Asked& asked = asked_[random.below(asked_.size())];
    const auto manner = Manner(random.below(2) == 0 ? uint64_t(reads_all) : random.below(n_manners));
    ++n[size_t(manner)];
    Peer peer(tiny_.port());
    const std::string request = request_text("POST", asked.path, asked.body);
    if (manner != says_nothing) peer.send(request.substr(0, manner == sends_part ? random.below(request.size()) : -1));
    if (manner == reads_all) {
      const Json said = said_by(peer.answer());
      if (said == asked.alone) return;
      ++wrong;
      ADD_FAILURE() << asked.body << " got " << said << " and alone " << asked.alone;
    }
    if (manner == reads_part || manner == resets) {
      std::string bytes(1 + random.below(400), '\0');
      ::recv(peer.socket(), bytes.data(), bytes.size(), 0);
    }
    const linger at_once{1, 0};
    if (manner == resets) ::setsockopt(peer.socket(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  }

  const Tiny& tiny_;
  const std::vector<Asked>& asked_;
  const uint64_t seed_;
  const double until_;
};

TEST(ServingSoak, PeersThatBreakOffLeaveNothingBehindAndDisturbNobody) {
  const uint64_t seed = number_given("HADAL_SEED", 1), seconds = number_given("HADAL_SECONDS", 0);
  TinyOptions options;
  options.serving.engine.cache_blocks = 20;
  options.serving.http.head_seconds = options.serving.http.body_seconds = options.serving.http.idle_seconds = 5;
  Tiny tiny(options);
  RandomStream random{seed, stream_id("test.serving.soak.asked"), 0};
  std::vector<Asked> asked = all_asked(random);
  for (Asked& one : asked) {
    one.alone = said_by(ask(tiny.port(), "POST", one.path, one.body));
    ASSERT_TRUE(one.alone.is_array()) << one.body << one.alone;
  }
  const auto at_rest = [&] {
    const EngineCounts counts = tiny.serving->engine_counts();
    return tiny.serving->http_counts().connections == 0 && counts.running + counts.waiting + counts.blocks_held == 0;
  };
  ASSERT_TRUE(soon(at_rest));
  const int64_t descriptors = open_descriptors();
  SoakingPeers peers(tiny, asked, seed, seconds > 0 ? steady_seconds() + double(seconds) : 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 12; ++i) threads.emplace_back([&, i] { peers.run(i); });
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(peers.wrong, 0);
  ASSERT_TRUE(soon(at_rest));
  EXPECT_EQ(open_descriptors(), descriptors);
  for (const Asked& one : asked) EXPECT_EQ(said_by(ask(tiny.port(), "POST", one.path, one.body)), one.alone);
  const EngineCounts counts = tiny.serving->engine_counts();
  for (const auto& n : peers.n) EXPECT_GT(n, 0);
  EXPECT_GT(counts.preemptions, 0);
  EXPECT_GT(counts.evictions, 0);
  EXPECT_GT(counts.cached_tokens, 0);
  fmt::print("seed {}: {} answers read, {} broken off; {} tokens, {} preemptions, {} evictions\n", seed,
             peers.n[reads_all].load(), tiny.serving->http_counts().accepted - peers.n[reads_all],
             counts.generated_tokens, counts.preemptions, counts.evictions);
}

}  // namespace
}  // namespace hadal

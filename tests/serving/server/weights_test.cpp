// /v1/weights: what runs ends with the old weights or begins anew with the new ones, never both; what cannot be loaded,
// or is given up half-way, changes nothing; who may not is told so.
#include <atomic>
#include <thread>

#include "base/expect_error.h"
#include "server/server_testing.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
constexpr const char* kKey = "Authorization: Bearer sesame\r\n";
constexpr int kLong = 1500;  // tokens of a request that is still being answered when other weights are there

bool in_time(const std::function<bool()>& reached) {
  for (int i = 0; i < 1600; ++i) {
    if (reached()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  return false;
}

// A served model, and beside it a directory of others.
class Updated {
 public:
  Updated() {
    TinyOptions options;
    options.positions = kPositions;
    for (const int seed : {2, 3}) {
      options.seed = uint64_t(seed);
      write_tiny_model(others_.path() + "/seed-" + std::to_string(seed), options);
    }
    options.seed = 1;
    options.serving.service.key = "sesame";
    options.serving.service.updates = {others_.path(), [this](const std::string& directory) {
                                         loading_ = true;
                                         EXPECT_TRUE(in_time([&] { return !held_.load(); }));
                                         const OwnedExec owned(1);
                                         return load_text_model(directory, {}, owned.exec);
                                       }};
    tiny_ = std::make_unique<Tiny>(options);
  }

  static constexpr int kPositions = 4096;
  std::string root() const { return others_.path(); }
  Tiny& tiny() { return *tiny_; }
  Answer update(const Json& request) { return ask(tiny_->port(), "POST", "/v1/weights", json_text(request), kKey); }
  Answer complete(const Json& request) {
    return ask(tiny_->port(), "POST", "/v1/completions", json_text(request), kKey);
  }
  void hold(bool held) { held_ = held, loading_ = false; }
  bool loading() const { return loading_; }
  int64_t generated() const { return tiny_->serving->engine_counts().generated_tokens; }
  int64_t version() {
    return ask(tiny_->port(), "GET", "/v1/models", "", kKey).json()["data"][0]["weights_version"].get<int64_t>();
  }

 private:
  testing::TempDir others_;
  std::atomic<bool> held_ = false, loading_ = false;
  std::unique_ptr<Tiny> tiny_;  // last: it waits for what still loads
};

Json request_of(int tokens, bool stream = false) {
  return {{"prompt", "the sea"}, {"max_tokens", tokens}, {"seed", 5}, {"ignore_eos", true}, {"stream", stream}};
}

// What a server of these weights alone answers.
std::string text_by(uint64_t seed, int tokens) {
  TinyOptions options;
  options.positions = Updated::kPositions;
  options.seed = seed;
  Tiny tiny(options);
  return post(tiny.port(), "/v1/completions", request_of(tokens)).json()["choices"][0]["text"].get<std::string>();
}

TEST(Weights, WhatRunsEndsWithTheOldOnesOrBeginsAnewWithTheNew) {
  const std::string of_one = text_by(1, kLong), of_two = text_by(2, kLong), of_three = text_by(3, kLong);
  ASSERT_NE(of_one, of_two);
  Updated updated;
  Answer stream, whole, broken;
  const auto when_running = [&](const std::function<void()>& start, const std::function<Answer()>& then) {
    const int64_t before = updated.generated();
    std::thread thread(start);
    EXPECT_TRUE(in_time([&] { return updated.generated() > before + 20; }));
    const Answer answer = then();
    thread.join();
    return answer;
  };
  const Answer finish = when_running([&] { stream = updated.complete(request_of(kLong, true)); },
                                     [&] {
                                       return updated.update({{"directory", "seed-2"}});
                                     });
  EXPECT_EQ(finish.status, 200) << finish.body;
  EXPECT_EQ(finish.json()["weights_version"], 1);
  EXPECT_EQ(finish.json()["running"], "finish");
  const auto events = events_of(stream.body);
  EXPECT_EQ(texts_of(events)[0], of_one);
  EXPECT_EQ(events.back()["choices"][0]["weights_version"], 0);

  const Answer restart = when_running([&] { whole = updated.complete(request_of(kLong)); },
                                      [&] {
                                        return updated.update({{"directory", "seed-3"}, {"running", "restart"}});
                                      });
  EXPECT_EQ(restart.json()["weights_version"], 2) << restart.body;
  EXPECT_EQ(whole.json()["choices"][0]["text"], of_three);
  EXPECT_EQ(whole.json()["choices"][0]["weights_version"], 2);
  EXPECT_EQ(whole.json()["usage"]["completion_tokens"], kLong);

  // What a stream has said cannot be taken back.
  const Answer again =
      when_running([&] { broken = updated.complete(request_of(kLong, true)); },
                   [&] {
                     return updated.update({{"directory", updated.root() + "/seed-2"}, {"running", "restart"}});
                   });
  EXPECT_EQ(again.json()["weights_version"], 3) << again.body;
  const auto said = events_of(broken.body);
  EXPECT_NE(said.back()["error"]["message"].get<std::string>().find("were exchanged"), std::string::npos);
  EXPECT_EQ(of_three.find(texts_of({said.begin(), said.end() - 1})[0]), 0u) << "a beginning by the old ones alone";
  EXPECT_EQ(updated.complete(request_of(kLong)).json()["choices"][0]["text"], of_two);
  const std::string metrics = ask(updated.tiny().port(), "GET", "/metrics", "", kKey).body;
  EXPECT_NE(metrics.find("hadal_weights_version 3\n"), std::string::npos);
}

TEST(Weights, WhatFailsOrIsGivenUpChangesNothing) {
  const std::string of_one = text_by(1, kLong), of_two = text_by(2, 40);
  Updated updated;
  const fs::path cut = updated.root() + "/cut";
  fs::copy(updated.root() + "/seed-2", cut);
  fs::resize_file(cut / "model.safetensors", fs::file_size(cut / "model.safetensors") / 2);
  Answer stream;
  std::thread neighbour([&] { stream = updated.complete(request_of(kLong, true)); });
  EXPECT_TRUE(in_time([&] { return updated.generated() > 20; }));
  for (const char* how : {"finish", "restart"}) {
    const Answer failed = updated.update({{"directory", "cut"}, {"running", how}});
    EXPECT_EQ(failed.status, 400) << failed.body;
    EXPECT_NE(failed.error().find("model.safetensors"), std::string::npos) << failed.body;
  }
  {
    updated.hold(true);
    Peer peer(updated.tiny().port());
    peer.send(request_text("POST", "/v1/weights", R"({"directory": "seed-2", "running": "restart"})", kKey));
    EXPECT_TRUE(in_time([&] { return updated.loading(); }));
    const Answer second = updated.update({{"directory", "seed-2"}});
    EXPECT_EQ(second.status, 409) << second.body;
    peer.leave();
    neighbour.join();
    EXPECT_TRUE(in_time([&] { return updated.tiny().serving->http_counts().connections == 0; }));
    updated.hold(false);
  }
  EXPECT_EQ(texts_of(events_of(stream.body))[0], of_one);
  EXPECT_EQ(updated.complete(request_of(kLong)).json()["choices"][0]["text"], of_one);
  EXPECT_EQ(updated.version(), 0);
  Answer next;
  EXPECT_TRUE(in_time([&] { return (next = updated.update({{"directory", "seed-2"}})).status != 409; }));
  EXPECT_EQ(next.json()["weights_version"], 1) << next.body;
  EXPECT_EQ(updated.complete(request_of(40)).json()["choices"][0]["text"], of_two);
}

// The files that are served are those that are watched.
TEST(Weights, OldFilesMayGoAndNewOnesAreWatched) {
  Updated updated;
  EXPECT_EQ(updated.update({{"directory", "seed-2"}}).status, 200);
  const auto health = [&] { return ask(updated.tiny().port(), "GET", "/health").status; };
  fs::resize_file(updated.tiny().directory() + "/model.safetensors", 1000);
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  EXPECT_EQ(health(), 200);
  fs::resize_file(updated.root() + "/seed-2/model.safetensors", 1000);
  EXPECT_TRUE(in_time([&] { return health() == 503; }));
  EXPECT_EQ(updated.update({{"directory", "seed-3"}}).status, 200);  // which heals it
  EXPECT_EQ(health(), 200);
}

TEST(Weights, AreRefusedByNameWhereTheyDoNotFit) {
  Updated updated;
  TinyOptions other;
  other.positions = Updated::kPositions, other.dense_ffn_size = 64;
  write_tiny_model(updated.root() + "/wide", other);
  other.dense_ffn_size = 48, other.words = 390;
  write_tiny_model(updated.root() + "/words", other);
  const testing::TempDir outside;
  other.words = 400;
  write_tiny_model(outside.path() + "/model", other);
  fs::create_directory_symlink(outside.path() + "/model", updated.root() + "/link");
  atomic_write(updated.root() + "/file", "x");
  const auto refused = [&](const Json& request, const std::string& words, int status = 400) {
    const Answer answer = updated.update(request);
    EXPECT_EQ(answer.status, status) << request << answer.body;
    EXPECT_NE(answer.error().find(words), std::string::npos) << request << answer.body;
  };
  refused({{"directory", "wide"}}, "model.dense_ffn_size: 48 -> 64");
  refused({{"directory", "words"}}, "words has another tokenizer");
  const std::string below = "must be a directory below the one that --allow-updates names";
  for (const std::string& name :
       {std::string("nix"), std::string(".."), std::string("."), std::string(""), std::string("file"),
        std::string("link"), std::string("seed-2/../../x"), outside.path() + "/model", std::string("/etc"),
        std::string("seed-2\0/x", 9), updated.root() + "-x", std::string(10000, 'x')})
    refused({{"directory", name}}, below);
  refused({{"directory", 5}}, "directory = 5 must be a text");
  refused(Json::object(), "directory is missing");
  refused({{"directory", "seed-2"}, {"running", "later"}}, "running = \"later\"");
  refused({{"directory", "seed-2"}, {"force", true}}, "unknown field 'force'");
  refused({{"directory", "seed-2"}, {"model", "other"}}, "not served here", 404);
  EXPECT_EQ(updated.version(), 0);

  const std::string body = R"({"directory": "seed-2"})";
  EXPECT_EQ(ask(updated.tiny().port(), "POST", "/v1/weights", body).status, 401);
  Tiny plain;
  const Answer forbidden = ask(plain.port(), "POST", "/v1/weights", body);
  EXPECT_EQ(forbidden.status, 403);
  EXPECT_EQ(forbidden.json()["error"]["code"], "updates_not_allowed");
  EXPECT_EQ(ask(plain.port(), "GET", "/v1/weights").status, 405);
  TinyOptions keyless;
  keyless.serving.service.updates = {updated.root(), {}};
  EXPECT_ERROR(Tiny{keyless}, ErrorKind::invalid, "so there must be one: --api-key-file");
  keyless.serving.service.key = "sesame";
  keyless.serving.service.updates.root = "/nowhere/at/all";
  EXPECT_ERROR(Tiny{keyless}, ErrorKind::invalid, "--allow-updates /nowhere/at/all must be a directory");
}

}  // namespace
}  // namespace hadal

// The server as a whole: many streams at once, peers that leave, keys, limits of connections, ending.
#include <sys/resource.h>
#include <sys/socket.h>

#include <thread>

#include "server/server_testing.h"

namespace hadal {
namespace {

std::string stream_of(int seed, int tokens = 60) {
  return json_text(
      Json{{"prompt", "the sea"}, {"max_tokens", tokens}, {"seed", seed}, {"stream", true}, {"ignore_eos", true}});
}

std::string stream_text(const Tiny& tiny, int seed, int tokens) {
  bool done = false;
  const Answer answer = ask(tiny.port(), "POST", "/v1/completions", stream_of(seed, tokens));
  const auto texts = texts_of(events_of(answer.body, &done));
  return done && texts.size() == 1 ? texts[0] : "not done: " + answer.head + answer.body;
}

TEST(Serving, TwoHundredStreamsAtOnceAreWhatEachIsAlone) {
  Tiny tiny;
  constexpr int kStreams = 200;
  std::vector<std::string> alone(kStreams), together(kStreams);
  for (int i = 0; i < kStreams; ++i) alone[size_t(i)] = stream_text(tiny, i, 30);
  std::vector<std::thread> threads;
  for (int i = 0; i < kStreams; ++i) threads.emplace_back([&, i] { together[size_t(i)] = stream_text(tiny, i, 30); });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < kStreams; ++i) EXPECT_EQ(together[i], alone[i]) << i;
  EXPECT_NE(alone[0], alone[1]);
  EXPECT_TRUE(soon([&] { return tiny.serving->engine_counts().running == 0; }));
}

// Each begins within the cache; none of them could go on if the others did not give back what they hold.
TEST(Serving, ACacheThatFillsUpInTheMiddleChangesNoText) {
  TinyOptions options;
  options.serving.engine.cache_blocks = 6;
  Tiny tiny(options);
  constexpr int kStreams = 16;
  std::vector<std::string> alone(kStreams), together(kStreams);
  for (int i = 0; i < kStreams; ++i) alone[size_t(i)] = stream_text(tiny, i, 150);
  EXPECT_EQ(tiny.serving->engine_counts().preemptions, 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < kStreams; ++i) threads.emplace_back([&, i] { together[size_t(i)] = stream_text(tiny, i, 150); });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < kStreams; ++i) EXPECT_EQ(together[i], alone[i]) << i;
  EXPECT_GT(tiny.serving->engine_counts().preemptions, 0);
  EXPECT_TRUE(soon([&] { return tiny.serving->engine_counts().blocks_held == 0; }));
}

TEST(Serving, APeerThatLeavesCancelsItsRequest) {
  TinyOptions options;
  options.positions = 8192;
  Tiny tiny(options);
  for (const bool stream : {true, false}) {
    const int64_t before = tiny.serving->engine_counts().generated_tokens;
    Peer peer(tiny.port());
    const Json request = {{"prompt", "x"}, {"max_tokens", 8000}, {"seed", 1}, {"stream", stream}, {"ignore_eos", true}};
    peer.send(request_text("POST", "/v1/completions", json_text(request)));
    EXPECT_TRUE(soon([&] { return tiny.serving->engine_counts().generated_tokens > before; }));
    peer.leave();
    EXPECT_TRUE(soon([&] { return tiny.serving->engine_counts().running == 0; }));
    EXPECT_LT(tiny.serving->engine_counts().generated_tokens - before, 8000) << "it ran to its end";
    EXPECT_TRUE(soon([&] { return tiny.serving->http_counts().connections == 0; }));
  }
}

TEST(Serving, AReaderThatDoesNotReadIsCutOff) {
  TinyOptions options;
  options.positions = 4096;
  options.serving.http.waiting_bytes = 20000;
  options.serving.http.stalled_seconds = 0.5;
  Tiny tiny(options);
  Peer peer(tiny.port());
  int small = 2048;
  ::setsockopt(peer.socket(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  const Json request = {{"prompt", "x"},  {"max_tokens", 4000}, {"n", 8},
                        {"stream", true}, {"ignore_eos", true}, {"logprobs", 20}};
  peer.send(request_text("POST", "/v1/completions", json_text(request)));
  EXPECT_TRUE(soon([&] { return tiny.serving->http_counts().accepted == 1; }));
  EXPECT_TRUE(soon([&] { return tiny.serving->http_counts().connections == 0; }));
  EXPECT_EQ(ask(tiny.port(), "GET", "/health").status, 200);
}

// In small pieces, now and then, of the request and of the answer.
TEST(Serving, SlowSendersAndReadersGetWhatOthersGet) {
  Tiny tiny;
  const std::string alone = stream_text(tiny, 1, 60);
  Peer peer(tiny.port());
  int small = 2048;
  ::setsockopt(peer.socket(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  const std::string request = request_text("POST", "/v1/completions", stream_of(1, 60), "Connection: close\r\n");
  for (size_t at = 0; at < request.size(); at += 9) {
    EXPECT_TRUE(peer.send(request.substr(at, 9)));
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  std::string all(1 << 20, '\0');
  size_t size = 0;
  for (ssize_t n = 1; n > 0; size += size_t(std::max<ssize_t>(n, 0))) {
    n = ::recv(peer.socket(), all.data() + size, 100, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  all.resize(size);
  std::string body;
  for (size_t at = all.find("data: "); at != std::string::npos; at = all.find("data: ", at + 1))
    body += all.substr(at, all.find("\n\n", at) + 2 - at);
  EXPECT_EQ(texts_of(events_of(body)), std::vector<std::string>{alone});
}

// Lets this process open so many more, as long as it lives.
class FewDescriptors {
 public:
  explicit FewDescriptors(int64_t more) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit few = before_;
    few.rlim_cur = rlim_t(open_descriptors() + more);
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  }
  ~FewDescriptors() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

// Of the process, below what the server allows: connections that idle make room, and who is served is served on.
TEST(Serving, IdleConnectionsUpToTheLimitOfDescriptorsKeepNobodyOut) {
  TinyOptions options;
  options.serving.http.connections = 100000;
  Tiny tiny(options);
  const std::string alone = stream_text(tiny, 1, 200);
  EXPECT_TRUE(soon([&] { return tiny.serving->http_counts().connections == 0; }));
  const FewDescriptors few(60);
  Peer neighbour(tiny.port());
  neighbour.send(request_text("POST", "/v1/completions", stream_of(1, 200)));
  std::vector<std::unique_ptr<Peer>> idle;
  while (idle.size() < 10) idle.push_back(std::make_unique<Peer>(tiny.port()));
  // The server has its share before these peers, of the same process, take all that is left: nobody could give it one.
  ASSERT_TRUE(soon([&] { return tiny.serving->http_counts().connections > 10; }));
  while (idle.back()->socket() >= 0) idle.push_back(std::make_unique<Peer>(tiny.port()));
  EXPECT_GT(idle.size(), 25u);
  for (int i = 0; i < 40; ++i) {
    do {  // one for ourselves, unless the server is quicker; it has none but those of others who idle
      ASSERT_GT(idle.size(), 1u);
      idle.erase(idle.begin());
      idle.push_back(std::make_unique<Peer>(tiny.port()));
    } while (idle.back()->socket() < 0);
    idle.back()->send(request_text("GET", "/health"));
    ASSERT_EQ(idle.back()->answer().status, 200) << i;
  }
  bool done = false;
  EXPECT_EQ(texts_of(events_of(neighbour.answer().body, &done)), std::vector<std::string>{alone});
  EXPECT_TRUE(done);
  idle.clear();
  EXPECT_EQ(ask(tiny.port(), "GET", "/health").status, 200);
}

TEST(Serving, AKeyIsAskedForEverywhereButForHealth) {
  TinyOptions options;
  options.serving.service.key = "sesame";
  Tiny tiny(options);
  const std::string body = R"({"prompt": "x", "max_tokens": 1})";
  const auto with = [&](const std::string& path, const std::string& fields) {
    return ask(tiny.port(), path == "/v1/completions" ? "POST" : "GET", path, body, fields).status;
  };
  EXPECT_EQ(with("/health", ""), 200);
  for (const char* path :
       {"/", "/metrics", "/v1/models", "/openapi.json", "/tokenizer_info", "/v1/completions", "/nix"}) {
    EXPECT_EQ(with(path, ""), 401) << path;
    EXPECT_EQ(with(path, "Authorization: Bearer wrong\r\n"), 401) << path;
    EXPECT_EQ(with(path, "Authorization: Bearer sesam\r\n"), 401) << path;
    EXPECT_EQ(with(path, "Authorization: Bearer sesame \r\n"), path == std::string("/nix") ? 404 : 200) << path;
    EXPECT_EQ(with(path, "Authorization: bearer sesame\r\n"), path == std::string("/nix") ? 404 : 200) << path;
  }
  EXPECT_EQ(with("/", "Authorization: Basic YW55OnNlc2FtZQ==\r\n"), 200);  // any:sesame
  EXPECT_EQ(with("/", "Authorization: Basic OnNlc2FtZQ==\r\n"), 200);      // :sesame
  EXPECT_EQ(with("/", "Authorization: Basic c2VzYW1l\r\n"), 401);          // no colon
  EXPECT_EQ(with("/", "Authorization: Basic !\r\n"), 401);
  const Answer answer = ask(tiny.port(), "GET", "/v1/models");
  EXPECT_EQ(answer.json()["error"]["code"], "invalid_api_key");
  EXPECT_EQ(answer.body.find("sesame"), std::string::npos);
}

TEST(Serving, WhereConnectionsRunOutTheLongestIdleMakesRoom) {
  TinyOptions options;
  options.serving.http.connections = 8;
  Tiny tiny(options);
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 40; ++i) {
    peers.push_back(std::make_unique<Peer>(tiny.port()));
    if (i % 8 == 7) {
      EXPECT_EQ(ask(tiny.port(), "GET", "/health").status, 200) << i;
    }
  }
  EXPECT_TRUE(peers[0]->closed());
}

TEST(Serving, EndsWhatRunsAndTakesNothingNew) {
  Tiny tiny;
  Peer peer(tiny.port()), idle(tiny.port());
  peer.send(request_text("POST", "/v1/completions", stream_of(1, 200)));
  EXPECT_EQ(peer.answer(true).status, 200);
  tiny.serving->drain();
  std::string rest;
  for (std::string more = peer.read_some(); !more.empty(); more = peer.read_some()) rest += more;
  EXPECT_NE(rest.find("[DONE]"), std::string::npos) << "the stream came to its end";
  EXPECT_TRUE(idle.closed());
  EXPECT_EQ(ask(tiny.port(), "GET", "/health").status, 0);
}

TEST(Serving, EndsAtOnceWithWhatRuns) {
  TinyOptions options;
  options.positions = 8192;
  auto tiny = std::make_unique<Tiny>(options);
  Peer peer(tiny->port());
  peer.send(request_text("POST", "/v1/completions", stream_of(1, 8000)));
  EXPECT_EQ(peer.answer(true).status, 200);
  tiny->serving.reset();
  EXPECT_TRUE(peer.closed());
}

TEST(Serving, APortInUseIsSaidWithWhatToDo) {
  Tiny tiny;
  HttpOptions options;
  options.port = tiny.port();
  const std::string said = testing::error_of([&] { HttpServer another(options, HttpHandler{}); });
  EXPECT_NE(said.find(std::to_string(tiny.port())), std::string::npos) << said;
  EXPECT_NE(said.find("--port 0"), std::string::npos) << said;
  options.host = "no such host";
  EXPECT_NE(testing::error_of([&] { HttpServer another(options, HttpHandler{}); }).find("--host"), std::string::npos);
}

TEST(Serving, SaysWhatItCounts) {
  TinyOptions options;
  options.serving.service.memory_read_speed = 1e12;
  Tiny tiny(options);
  ask(tiny.port(), "POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 7, "ignore_eos": true})");
  ask(tiny.port(), "POST", "/v1/completions", "{}");
  const std::string text = ask(tiny.port(), "GET", "/metrics").body;
  for (const char* line :
       {"hadal_generated_tokens_total 7\n", "hadal_first_token_seconds_count 1\n", "hadal_next_token_seconds_count 6\n",
        "hadal_http_requests_total{path=\"/v1/completions\",status=\"200\"} 1\n",
        "hadal_http_requests_total{path=\"/v1/completions\",status=\"400\"} 1\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  const auto seconds = [&](const char* name) {
    const size_t at = text.find(fmt::format("\nhadal_{}_seconds_total ", name));
    return at == std::string::npos ? -1 : std::stod(text.substr(text.find(' ', at)));
  };
  EXPECT_NE(text.find("\nhadal_evictions_total 0\n"), std::string::npos);
  const auto value = [&](const std::string& name) {
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  };
  EXPECT_EQ(value("hadal_memory_read_speed"), 1e12);
  EXPECT_GT(value("hadal_weight_bytes_total"), 0);
  EXPECT_NEAR(value("hadal_memory_read_share"), value("hadal_weight_bytes_total") / seconds("forward") / 1e12, 1e-6);
  EXPECT_GT(seconds("forward"), 0);
  EXPECT_GE(seconds("step"), seconds("forward"));  // the model's part of the steps
  const Json models = ask(tiny.port(), "GET", "/v1/models").json();
  EXPECT_EQ(models["data"][0]["id"], "tiny");
  EXPECT_EQ(ask(tiny.port(), "GET", "/v1/models/tiny").json(), models["data"][0]);
  EXPECT_EQ(ask(tiny.port(), "GET", "/v1/models/other").status, 404);
  EXPECT_EQ(ask(tiny.port(), "POST", "/v1/embeddings", R"({"input": "x"})").status, 400);
  const Json api = ask(tiny.port(), "GET", "/openapi.json").json();
  EXPECT_TRUE(api["paths"].contains("/v1/chat/completions"));
  const Answer page = ask(tiny.port(), "GET", "/");
  EXPECT_NE(page.head.find("Content-Security-Policy"), std::string::npos);
}

TEST(Serving, AModelThatIsCutOffIsNotServedAnyMore) {
  TinyOptions options;
  options.positions = 8192;
  Tiny tiny(options);
  Peer peer(tiny.port());
  peer.send(request_text("POST", "/v1/completions", stream_of(1, 8000)));
  EXPECT_EQ(peer.answer(true).status, 200);
  const std::string brief = R"({"prompt": "x", "max_tokens": 1})";
  EXPECT_EQ(ask(tiny.port(), "POST", "/v1/completions", brief).status, 200);
  std::filesystem::resize_file(tiny.directory() + "/model.safetensors", 1000);
  const Answer next = ask(tiny.port(), "POST", "/v1/completions", brief);  // at once, and be it the last look's moment
  EXPECT_EQ(next.status, 500) << next.body;
  EXPECT_NE(next.error().find("model.safetensors: has 1000 bytes"), std::string::npos) << next.body;
  EXPECT_EQ(ask(tiny.port(), "GET", "/health").status, 503);
  std::string rest;
  for (std::string more = "?"; !more.empty() && rest.find("[DONE]") == std::string::npos; rest += more)
    more = peer.read_some();
  EXPECT_NE(rest.find("model.safetensors: has 1000 bytes"), std::string::npos) << rest;
  EXPECT_NE(rest.find("[DONE]"), std::string::npos);
}

}  // namespace
}  // namespace hadal

// What strangers send: each gets a 4xx that says what is wrong, or a clean close, while a neighbour's stream goes on
// and is the text that it is alone.
#include <sys/socket.h>

#include <thread>

#include "server/server_testing.h"

namespace hadal {
namespace {

class Hostile : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    TinyOptions options;
    HttpOptions& http = options.serving.http;
    http.head_bytes = 8 << 10, http.body_bytes = 1 << 20, http.held_bytes = 8 << 20;
    http.head_seconds = 0.5, http.body_seconds = 0.7, http.idle_seconds = 1.5;
    tiny_ = std::make_unique<Tiny>(options);
    alone_ = text_of(stream_request());
    ASSERT_GT(alone_.size(), 10000u);
    ASSERT_NE(alone_.find("token_logprobs"), std::string::npos);
  }
  static void TearDownTestSuite() { tiny_.reset(); }

  static std::string stream_request() {
    return R"({"prompt": "the sea", "max_tokens": 240, "seed": 6, "ignore_eos": true, "stream": true,
        "logprobs": 2})";
  }
  // Of a stream: its text, and the log-probabilities of every token and of those that might have come, to the bit.
  static std::string text_of(const std::string& request) {
    bool done = false;
    std::string all;
    for (const Json& event : events_of(ask(tiny_->port(), "POST", "/v1/completions", request).body, &done))
      for (const Json& choice : event["choices"]) all += json_text(choice);
    return done ? all : "";
  }
  void SetUp() override {
    neighbour_ = std::thread([this] {
      do neighbours_right_ += text_of(stream_request()) == alone_, ++neighbours_;
      while (!stop_);
    });
  }
  void TearDown() override {
    stop_ = true;
    neighbour_.join();
    EXPECT_EQ(neighbours_right_, neighbours_) << "a neighbour's stream was disturbed";
    EXPECT_EQ(ask(tiny_->port(), "GET", "/health").status, 200);
  }

  // What is sent raw; the answer's status, or 0 for a close without one.
  static Answer raw(const std::string& bytes) {
    Peer peer(tiny_->port());
    peer.send(bytes);
    return peer.answer();
  }
  static void refused(const std::string& body, const char* word) {
    const Answer answer = ask(tiny_->port(), "POST", "/v1/completions", body);
    EXPECT_EQ(answer.status, 400) << body.substr(0, 200) << answer.body;
    EXPECT_NE(answer.error().find(word), std::string::npos) << "'" << word << "' is not in " << answer.error();
  }

  static std::unique_ptr<Tiny> tiny_;
  static std::string alone_;
  std::thread neighbour_;
  std::atomic<bool> stop_ = false;
  int neighbours_ = 0, neighbours_right_ = 0;
};
std::unique_ptr<Tiny> Hostile::tiny_;
std::string Hostile::alone_;

TEST_F(Hostile, JsonThatIsNone) {
  const std::string deep(100000, '[');
  refused("{\"prompt\": " + deep, "nested deeper than 100");
  refused("{\"prompt\": " + deep + std::string(100000, ']') + "}", "nested deeper than 100");
  std::string objects;
  for (int i = 0; i < 9000; ++i) objects += "{\"a\":";
  refused(objects, "nested deeper");
  refused("", "no body");
  refused("[]", "not a JSON object");
  refused("\"x\"", "not a JSON object");
  refused("{\"prompt\": \"x\"", "not valid JSON");
  refused("{\"prompt\": \"x\"} {}", "not valid JSON");
  refused("{\"prompt\": \"x\", \"prompt\": \"y\"}", "stands twice");
  refused("{\"prompt\": \"\\ud800\"}", "not valid JSON");
  refused(std::string("{\"prompt\": \"a\0b\"}", 17), "not valid JSON");
  refused("{\"prompt\": \"\xff\xfe\"}", "not valid JSON");
  refused("{\"prompt\": \"\xed\xa0\x80\"}", "not valid JSON");
  refused("{\"prompt\": 'x'}", "not valid JSON");
  refused("{\"prompt\": \"x\", \"temperature\": 1e999}", "beyond what a double can hold");
  refused("{\"prompt\": \"x\", \"temperature\": Infinity}", "not valid JSON");
  refused("{\"prompt\": \"x\", \"stream_options\": {\"a\": 1, \"a\": 1}}", "stands twice");
  refused("{\"prompt\": \"x\", \"logit_bias\": {\"1\": 1, \"1\": 2}}", "stands twice");
  refused("{\"prompt\": \"\\ud800\\ud800\"}", "not valid JSON");
  refused("{\"prompt\": \"\\udc00\"}", "not valid JSON");
  refused("\xff\xfe{\0\"\0", "not valid JSON");
  const std::string marked = "\xef\xbb\xbf{\"prompt\": \"x\", \"max_tokens\": 1}";  // which readers may pass over
  EXPECT_EQ(ask(tiny_->port(), "POST", "/v1/completions", marked).status, 200);
  EXPECT_EQ(ask(tiny_->port(), "POST", "/v1/completions", R"({"prompt": "a\u0000b", "max_tokens": 1})").status, 200);
}

// Each would take minutes if it were not bounded.
TEST_F(Hostile, BodiesThatAreMeantToTakeLong) {
  std::string names = "{\"k\": 1";
  for (int i = 0; i < 90000; ++i) names += ",\"" + std::to_string(i) + "\":1";
  refused(names + "}", "90001 names");
  refused("{\"prompt\": \"" + std::string(1000000, 'a') + "\"}", "1000000 bytes");
  std::string ids;
  for (int i = 0; i < 300000; ++i) ids += "1,";
  refused("{\"prompt\": [" + ids + "1]}", "300001 tokens");
  const auto chat = [&](const std::string& messages) {
    return ask(tiny_->port(), "POST", "/v1/chat/completions", "{\"messages\": [" + messages + "]}");
  };
  std::string many;
  for (int i = 0; i < 4097; ++i) many += std::string(i == 0 ? "" : ",") + R"({"role":"user","content":"x"})";
  EXPECT_NE(chat(many).error().find("4097"), std::string::npos);
  EXPECT_EQ(chat(R"({"role":"user","content":")" + std::string(900000, 'x') + "\"}").status, 400);
}

TEST_F(Hostile, BodiesThatLieAboutTheirLength) {
  const std::string head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n";
  EXPECT_EQ(raw(head + "Content-Length: 999999999999\r\n\r\n{").status, 413);
  EXPECT_EQ(raw(head + "Content-Length: 99999999999999999999999\r\n\r\n{").status, 400);
  EXPECT_EQ(raw(head + "Content-Length: -1\r\n\r\n{").status, 400);
  EXPECT_EQ(raw(head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x").status, 400);
  EXPECT_EQ(raw(head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").status, 400);
  EXPECT_EQ(raw(head + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n").status, 400);
  EXPECT_GE(raw(head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n").status, 400);
  EXPECT_GE(raw(head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n").status, 400);
  EXPECT_EQ(raw(head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n").status, 400);
  EXPECT_EQ(raw(head + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n").status, 400);
  EXPECT_EQ(raw(head + "Transfer-Encoding: chunked\r\n\r\n7FFFFFFFFFFFFFFF\r\nx").status, 413);
  EXPECT_EQ(raw(head + "Content-Length: 100\r\n\r\n{\"prompt\"").status, 0) << "the rest never comes: a close";
  std::string chunks;
  for (int i = 0; i < 40; ++i) chunks += "10000\r\n" + std::string(0x10000, ' ') + "\r\n";
  EXPECT_EQ(raw(head + "Transfer-Encoding: chunked\r\n\r\n" + chunks).status, 413);
  const std::string body = R"({"prompt": "x", "max_tokens": 1})";
  EXPECT_EQ(raw(head + "Transfer-Encoding: chunked\r\n\r\n" + fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", body.size(), body))
                .status,
            200);
}

TEST_F(Hostile, HeadsThatAreNone) {
  EXPECT_EQ(raw("GET / HTTP/1.1\r\n\r\n").status, 400);
  EXPECT_EQ(raw("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n").status, 400);
  EXPECT_EQ(
      raw("GET / HTTP/1.1\r\nHost: localhost\r\n" + std::string("X: ") + std::string(9000, 'x') + "\r\n\r\n").status,
      431);
  EXPECT_EQ(raw("GET /" + std::string(9000, 'x') + " HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 431);
  EXPECT_EQ(raw("GET / HTTP/3.0\r\nHost: localhost\r\n\r\n").status, 505);
  EXPECT_EQ(raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status, 505);
  EXPECT_EQ(raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello of TLS\r\n\r\n").status, 400);
  EXPECT_EQ(raw("GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 400);
  EXPECT_EQ(raw("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 400);
  EXPECT_EQ(raw("BREW /v1/completions HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
  EXPECT_EQ(raw("DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
  EXPECT_EQ(raw("GET / HTTP/1.1\r\nHost: localhost\r\nBad Field: x\r\n\r\n").status, 400);
  EXPECT_EQ(raw("GET / HTTP/1.1\r\nHost: local" + std::string(1, '\0') + "host\r\n\r\n").status, 400);
  EXPECT_EQ(raw("GET / HTTP/1.1\r\nHost: localhost\r\nExpect: a miracle\r\n\r\n").status, 417);
  EXPECT_EQ(ask(tiny_->port(), "GET", "/../../etc/passwd").status, 404);
  EXPECT_EQ(ask(tiny_->port(), "GET", "/v1/models/%00").status, 404);
  EXPECT_EQ(raw("GET /health HTTP/1.0\r\n\r\n").status, 200);
}

// Where one body ends for us and another begins for a proxy, or the other way round.
TEST_F(Hostile, NothingIsSmuggled) {
  const std::string body = R"({"prompt": "x", "max_tokens": 1})",
                    hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const std::string head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n", length = std::to_string(body.size());
  const auto refused_with = [&](const std::string& fields, const std::string& after) {
    Peer peer(tiny_->port());
    peer.send(head + fields + "\r\n" + after + hidden);
    const int status = peer.answer().status;
    EXPECT_TRUE(status == 400 || status == 501) << fields << status;
    EXPECT_EQ(peer.answer().status, 0) << fields << ": and what followed was answered";
  };
  refused_with("Content-Length: +" + length + "\r\n", body);
  refused_with("Content-Length: " + length + ", " + length + "\r\n", body);
  refused_with("Content-Length: 0x" + length + "\r\n", body);
  refused_with("Content-Length: " + length + " 0\r\n", body);
  refused_with("Content-Length : " + length + "\r\n", body);
  refused_with("Content-Length: " + length + "\r\nTransfer-Encoding: identity\r\n", body);
  refused_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n");
  refused_with("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n");
  refused_with(
      "Transfer-Encoding: \x0b"
      "chunked\r\n",
      "0\r\n\r\n");
  refused_with("Transfer-Encoding : chunked\r\n", "0\r\n\r\n");
  refused_with("X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
  for (const std::string size : {"-1", "+5", "0x5", "5 5", " 5", "", "g", "5\n"})
    refused_with("Transfer-Encoding: chunked\r\n", size + "\r\n" + body.substr(0, 5) + "\r\n0\r\n\r\n");
  refused_with("Transfer-Encoding: chunked\r\n", "5\r\n" + body.substr(0, 9) + "\r\n0\r\n\r\n");  // more than it says
  Peer split(tiny_->port());  // a field that goes on in the next line is one field
  split.send(head + "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: " + length + "\r\n\r\n" + body + hidden);
  EXPECT_EQ(split.answer().status, 200);
  EXPECT_EQ(split.answer().status, 404);
}

TEST_F(Hostile, AHelloOfTlsGetsAnAnswerOrAClose) {
  std::string hello = "\x16\x03\x01\x02";  // a record of 512 bytes, as curl sends to https://
  RandomStream random{11, stream_id("test.hostile.tls"), 0};
  hello += std::string("\0\1\0\1\xfc\3\3", 7);
  while (hello.size() < 517) hello += char(random.below(256));
  Peer peer(tiny_->port());
  peer.send(hello);
  const Answer answer = peer.answer();
  EXPECT_TRUE(answer.status == 400 || answer.status == 0) << answer.status;
  EXPECT_TRUE(peer.closed());
}

TEST_F(Hostile, NumbersAreTakenUpToTheirEdgesInAllEndpoints) {
  const std::vector<std::string> values = {"-1", "0", "2147483648", "9223372036854775808", "1.5", "\"7\""};
  const auto taken = [](const std::string& path, const std::string& name, const std::string& value) {
    if (name == "top_k") return value == "-1" || value == "0";  // off
    if (name == "max_tokens") return value == "0" && path == "/v1/completions";
    return value == "0" && name != "n" && name != "best_of" && name != "max_completion_tokens" &&
           name != "max_output_tokens";
  };
  const auto asks = [&](const std::string& path, const std::string& name, const std::string& more) {
    const std::string most = path == "/v1/responses" ? "max_output_tokens" : "max_tokens";
    const std::string least = name.starts_with("max_") ? "" : ", \"" + most + "\": 1";
    for (const std::string& value : values) {
      const Answer answer = ask(tiny_->port(), "POST", path, "{" + more + least + ", \"" + name + "\": " + value + "}");
      EXPECT_EQ(answer.status, taken(path, name, value) ? 200 : 400) << path << " " << name << value << answer.body;
      if (answer.status == 200) continue;
      EXPECT_NE(answer.error().find(name + " = " + value), std::string::npos) << answer.error();
    }
  };
  for (const char* name : {"n", "best_of", "logprobs", "top_k", "max_tokens", "min_tokens"})
    asks("/v1/completions", name, "\"prompt\": \"x\"");
  for (const char* name : {"n", "top_logprobs", "top_k", "max_tokens", "max_completion_tokens", "min_tokens"})
    asks("/v1/chat/completions", name, R"("messages": [{"role": "user", "content": "x"}], "logprobs": true)");
  for (const char* name : {"top_k", "max_output_tokens", "min_tokens"}) asks("/v1/responses", name, R"("input": "x")");
}

TEST_F(Hostile, PromptsAtTheirEdges) {
  const auto complete = [&](const Json& prompt, bool special = false) {
    return post(tiny_->port(), "/v1/completions", {{"prompt", prompt}, {"max_tokens", 1}, {"parse_special", special}});
  };
  const Tokenizer& words = *tiny_->model.tokenizer;
  const int begins = text_prompt(tiny_->model, "").empty() ? 400 : 200;
  EXPECT_EQ(complete("").status, begins);
  EXPECT_EQ(complete("<｜User｜>", true).status, 200);
  EXPECT_EQ(complete({*words.eos_id(), *words.eos_id()}).status, 200);
  EXPECT_EQ(complete(std::vector<int>(255, 5)).status, 200);
  for (const Answer& answer : {complete(std::vector<int>(256, 5)), complete(std::string(1000000, 'a')),
                               complete(Json::array({5, -1})), complete(Json::array({5, 400})),
                               complete(Json::array({5, 9223372036854775807})), complete(Json::array({5, 2.5}))}) {
    EXPECT_EQ(answer.status, 400);
    EXPECT_FALSE(answer.error().empty());
  }
}

// What it costs grows with its length alone, or this would take hours.
TEST_F(Hostile, AWordOfAMillionLettersIsTokenised) {
  RandomStream random{5, stream_id("test.hostile.word"), 0};
  for (const bool mixed : {false, true}) {
    std::string word(1000000, 'a');
    for (char& c : word) c = mixed ? char('a' + random.below(26)) : c;
    const Json json = {{"prompt", word}, {"add_special_tokens", false}};
    const Answer answer = post(tiny_->port(), "/tokenize", json);
    ASSERT_EQ(answer.status, 200) << answer.body.substr(0, 200);
    std::string back;
    for (const int32_t id : answer.json()["tokens"].get<std::vector<int32_t>>())
      back += tiny_->model.tokenizer->token_bytes(id);
    EXPECT_TRUE(back == word);
  }
}

TEST_F(Hostile, TemplatesDoNotLetPeersIn) {
  const auto chat = [&](const Tiny& tiny, const std::string& more, const std::string& content = "x") {
    return ask(tiny.port(), "POST", "/v1/chat/completions",
               R"({"max_tokens": 1, "messages": [{"role": "user", "content": ")" + content + "\"}]" + more + "}");
  };
  const auto tokens = [](const Answer& answer) { return answer.json()["usage"]["prompt_tokens"].get<int>(); };
  EXPECT_EQ(tokens(chat(*tiny_, "", "{{ 7 * 7 }}")), tokens(chat(*tiny_, "", "{{ 8 * 8 }}"))) << "text stays text";
  EXPECT_EQ(chat(*tiny_, "", "{% for i in range(1000000000) %}x{% endfor %}").status, 200);
  for (const char* name : {"messages", "tools", "documents", "add_generation_prompt"}) {
    const Answer answer = chat(*tiny_, std::string(R"(, "chat_template_kwargs": {")") + name + "\": [1]}");
    EXPECT_EQ(answer.status, 400) << name << answer.body;
    EXPECT_NE(answer.error().find(name), std::string::npos) << answer.error();
  }
  TinyOptions options;
  options.chat_template =
      "{% for m in messages %}{{ m.content }}{% endfor %}{% for i in range(n) %}{% for j in range(n) "
      "%}{{ s * n }}{% endfor %}{% endfor %}{{ f.g.h }}";
  Tiny tiny(options);
  EXPECT_EQ(chat(tiny, R"(, "chat_template_kwargs": {"n": 1, "s": "x", "f": {"g": {"h": 1}}})").status, 200);
  for (const char* variables :
       {R"({"n": 1000000000, "s": "x", "f": {"g": {}}})", R"({"n": 100000, "s": "xxxxxxxxxxxxxxxx", "f": {"g": {}}})",
        R"({"n": -9223372036854775808, "s": "x"})", R"({"n": "1", "s": 1})", R"({"n": [[[1]]], "s": {}})", "{}"}) {
    const Answer answer = chat(tiny, std::string(", \"chat_template_kwargs\": ") + variables);
    EXPECT_EQ(answer.status, 400) << variables << answer.body;
    EXPECT_FALSE(answer.error().empty()) << variables;
  }
  std::string deep = "1";
  for (int i = 0; i < 90; ++i) deep = "{\"type\": \"object\", \"properties\": " + deep + "}";
  const std::string tool =
      R"(, "tools": [{"type": "function", "function": {"name": "f", "parameters": )" + deep + "}}]";
  const Answer nested = chat(*tiny_, tool);
  EXPECT_EQ(nested.status, 400) << "longer than the model's positions";
}

TEST_F(Hostile, OtherSitesAreRefused) {
  const std::string body = R"({"prompt": "x", "max_tokens": 1})";
  const auto with = [&](const std::string& fields) {
    return ask(tiny_->port(), "POST", "/v1/completions", body, fields).status;
  };
  EXPECT_EQ(with("Origin: http://evil.example\r\n"), 403);
  EXPECT_EQ(with("Origin: null\r\n"), 403);
  EXPECT_EQ(with("Origin: http://localhost.evil.example\r\n"), 403);
  EXPECT_EQ(with("Origin: http://localhost\r\n"), 200);
  EXPECT_EQ(raw("GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 403) << "a rebound name";
  EXPECT_EQ(raw("GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n").status, 200);
  EXPECT_EQ(raw("GET /v1/models HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n").status, 200);
}

TEST_F(Hostile, SlowSendersAndIdlersAreLetGo) {
  Peer idle(tiny_->port()), slow_head(tiny_->port()), slow_body(tiny_->port());
  slow_head.send("POST /v1/compl");
  slow_body.send("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{");
  std::thread drip([&] {
    for (int i = 0; i < 20; ++i) {
      slow_head.send("e");
      slow_body.send(" ");
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  EXPECT_TRUE(slow_head.closed());
  EXPECT_TRUE(slow_body.closed());
  EXPECT_TRUE(idle.closed());
  drip.join();
}

TEST_F(Hostile, BodiesTogetherHaveALimit) {
  const std::string body(1 << 20, ' ');
  std::vector<std::unique_ptr<Peer>> peers;
  int refused = 0;
  for (int i = 0; i < 12; ++i) {
    peers.push_back(std::make_unique<Peer>(tiny_->port()));
    peers.back()->send("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n" +
                       body.substr(1));
  }
  for (auto& peer : peers) refused += peer->answer().status == 503;
  EXPECT_GE(refused, 4);
  EXPECT_EQ(ask(tiny_->port(), "POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 1})").status, 200);
}

TEST_F(Hostile, AConnectionServesManyRequestsAndPipelines) {
  Peer peer(tiny_->port());
  const std::string one = request_text("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 2, "seed": 1})");
  peer.send(one + request_text("GET", "/health") + request_text("GET", "/nix") + one);
  const Answer first = peer.answer();
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(peer.answer().body, "ok\n");
  EXPECT_EQ(peer.answer().status, 404);
  EXPECT_EQ(peer.answer().json()["choices"], first.json()["choices"]);
  peer.send("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 32\r\n\r\n");
  EXPECT_EQ(peer.answer(true).status, 100);
  peer.send(R"({"prompt": "x", "max_tokens": 1})");
  EXPECT_EQ(peer.answer().status, 200);
  peer.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(peer.answer(true).status, 200);
}

TEST_F(Hostile, RandomBytesEndNothing) {
  const std::string good = request_text("POST", "/v1/completions", R"({"prompt": "x", "max_tokens": 1})");
  RandomStream random{7, stream_id("test.hostile"), 0};
  for (int i = 0; i < 200; ++i) {
    std::string bytes = good;
    for (uint64_t n = 1 + random.below(6); n > 0; --n) {
      const size_t at = random.below(bytes.size());
      if (random.below(3) == 0)
        bytes.erase(at, random.below(8));
      else if (random.below(2) == 0)
        bytes.insert(at, 1, char(random.below(256)));
      else
        bytes[at] = char(random.below(256));
    }
    Peer peer(tiny_->port());
    peer.send(bytes);
    ::shutdown(peer.socket(), SHUT_WR);
    peer.read_some();
  }
}

}  // namespace
}  // namespace hadal

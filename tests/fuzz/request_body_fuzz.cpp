// libFuzzer: the first byte chooses an endpoint, those behind it are the body of a request to a tiny model. Every
// request is answered once: by JSON, by a stream of JSON that comes to its end, or by a 4xx that says what is wrong.
// room: server
#include <array>
#include <cstdlib>

#include "server/server_testing.h"

namespace {

using namespace hadal;

void require(bool condition) {
  if (!condition) std::abort();
}

class Reply : public HttpReply {
 public:
  void answer(HttpAnswer given) override {
    require(!begun_);
    begun_ = ended = true;
    whole = std::move(given);
  }
  void begin(int status, std::string) override {
    require(!begun_ && status == 200);
    begun_ = true;
  }
  void piece(std::string bytes) override {
    require(begun_ && !ended);
    stream += bytes;
  }
  void end() override {
    require(begun_ && !ended);
    ended = true;
  }
  bool gone() const override { return false; }
  void on_gone(std::function<void()>) override {}
  void later(std::function<void()> work) override { work(); }

  std::optional<HttpAnswer> whole;
  std::string stream;
  bool ended = false;

 private:
  bool begun_ = false;
};

// A model of few positions, so that no request takes long.
struct Served {
  Served() : owned(1) {
    TinyOptions options;
    options.positions = 24;
    write_tiny_model(directory.path(), options);
    model = load_text_model(directory.path(), {}, owned.exec);
    engine = std::make_unique<Engine>(owned.exec, *model.model.transformer, EngineOptions{.cache_blocks = 6});
    ServiceOptions service_options;
    service_options.name = "tiny", service_options.most_choices = 6;
    service_options.receipt = receipt_of(owned.exec, *model.model.transformer, "tiny");
    service = std::make_unique<Service>(model, *engine, service_options);
    handler = service->handler();
  }
  hadal::testing::TempDir directory;
  OwnedExec owned;
  TextModel model;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Service> service;
  HttpHandler handler;
};

void check_answer(const HttpAnswer& answer) {
  const Json json = parse_json<Json>(answer.body, "the answer");
  if (answer.status == 200) return require(!json.contains("error"));
  require(answer.status >= 400 && answer.status < 500);
  require(!json.at("error").at("message").get<std::string>().empty());
}

void check_stream(const std::string& stream) {
  require(stream.ends_with("data: [DONE]\n\n"));
  for (size_t at = 0; at < stream.size();) {
    const size_t end = stream.find("\n\n", at);
    require(end != std::string::npos && stream.compare(at, 6, "data: ") == 0);
    const std::string event = stream.substr(at + 6, end - at - 6);
    if (event != "[DONE]") require(!parse_json<Json>(event, "an event").contains("error"));
    at = end + 2;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Served& served = *new Served;
  constexpr std::array<const char*, 4> kPaths = {"/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"};
  if (size == 0) return 0;
  HttpRequest request;
  request.method = "POST", request.path = kPaths[data[0] % kPaths.size()];
  request.body.assign(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto reply = std::make_shared<Reply>();
  served.handler.handle(request, reply);
  while (served.engine->step()) continue;
  require(reply->ended);
  reply->whole ? check_answer(*reply->whole) : check_stream(reply->stream);
  return 0;
}

// A tiny random model with a tokenizer and a chat template, served in this process on a free port; and a peer that
// speaks raw bytes to it.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/files.h"
#include "base/json.h"
#include "base/testing.h"
#include "dialogue/tiny_model.h"
#include "grammar/grammar_testing.h"
#include "server/serving.h"

namespace hadal {

using Json = nlohmann::ordered_json;

struct TinyOptions : TinyModel {
  ServingOptions serving = {};
  GrammarLimits grammars = testing::grammar_limits();
};

class Tiny {
 public:
  explicit Tiny(TinyOptions options = {}) : owned_(1) {
    write_tiny_model(directory_.path(), options);
    model = load_text_model(directory_.path(), {}, owned_.exec);
    options.serving.http.port = 0;
    options.serving.service.grammars = options.grammars;
    if (options.serving.service.name.empty()) options.serving.service.name = "tiny";
    serving = std::make_unique<Serving>(owned_.exec, model, options.serving);
  }
  int port() const { return serving->port(); }
  std::string directory() const { return directory_.path(); }

 private:
  testing::TempDir directory_;
  OwnedExec owned_;

 public:
  TextModel model;
  std::unique_ptr<Serving> serving;
};

// Whether it becomes true in a while.
bool soon(const std::function<bool()>& reached);
int64_t open_descriptors();  // of this process

struct Answer {
  int status = 0;  // 0: the connection was closed without one
  std::string head, body;
  bool whole = false;  // the body came to its end
  Json json() const { return body.empty() ? Json() : parse_json<Json>(body, "the answer"); }
  std::string error() const {
    const Json all = json();
    return all.contains("error") ? all["error"]["message"].get<std::string>() : "";
  }
};

// A socket. Everything has a limit of seconds; what is not there then is missing.
class Peer {
 public:
  explicit Peer(int port);
  ~Peer();
  Peer(const Peer&) = delete;

  bool send(const std::string& bytes);
  std::string read_some();  // empty: closed, or nothing came in time
  Answer answer(bool head_only = false);
  bool closed();  // whether the server closes, in a while
  void leave();
  int socket() const { return socket_; }

 private:
  bool fill() {
    const std::string more = read_some();
    buffer_ += more;
    return !more.empty();
  }
  std::string chunks(bool& whole);
  int socket_ = -1;
  std::string buffer_;
};

std::string request_text(const std::string& method, const std::string& path, const std::string& body = "",
                         const std::string& fields = "");
// One request on a connection of its own.
Answer ask(int port, const std::string& method, const std::string& path, const std::string& body = "",
           const std::string& fields = "");
inline Answer post(int port, const std::string& path, const Json& json) {
  return ask(port, "POST", path, json_text(json));
}
// The JSON events of a stream; `done`: it ended with [DONE].
std::vector<Json> events_of(const std::string& body, bool* done = nullptr);
// The texts of a stream of completions or chats, joined, by choice.
std::vector<std::string> texts_of(const std::vector<Json>& events, const char* part = "content");

}  // namespace hadal

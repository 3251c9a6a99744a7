// A tiny random model with a tokenizer and a chat template, served in this process on a free port; and a peer that
// speaks raw bytes to it.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "arch/parameter_list.h"
#include "base/files.h"
#include "base/json.h"
#include "base/random.h"
#include "base/testing.h"
#include "exchange/hf_config.h"
#include "grammar/grammar_testing.h"
#include "server/serving.h"
#include "storage/safetensors.h"
#include "text/text_testing.h"

namespace hadal {

using Json = nlohmann::ordered_json;

constexpr const char* kChatTemplate =
    "{% for m in messages %}{{ '<｜User｜>' if m.role == 'user' else '<｜Assistant｜>' if m.role == 'assistant' else "
    "'' }}"
    "{{ m.content or '' }}{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% if thinking %}{{ '<think>' }}{% endif %}{% endif %}";

struct TinyOptions {
  bool tokenizer = true, chat = true;
  std::string chat_template = kChatTemplate;
  int64_t positions = 256, dense_ffn_size = 48, words = 400, n_mtp = 0;
  uint64_t seed = 1;  // of the weights
  ServingOptions serving = {};
  GrammarLimits grammars = testing::grammar_limits();
};

// The directory of the model alone.
inline void write_tiny_model(const std::filesystem::path& directory, const TinyOptions& options) {
  std::filesystem::create_directories(directory);
  ModelConfig m;
  m.vocab_size = 400;
  m.hidden_size = 32;
  m.n_layers = 2;
  m.n_heads = 2;
  m.kv_lora_rank = 16;
  m.qk_nope_head_dim = 8;
  m.qk_rope_head_dim = 4;
  m.v_head_dim = 8;
  m.dense_ffn_size = options.dense_ffn_size;
  m.expert_ffn_size = 16;
  m.n_routed_experts = 4;
  m.n_experts_per_token = 2;
  m.max_positions = options.positions;
  m.n_mtp = options.n_mtp;
  HfConfig config;
  config.model = m;
  config.dtype = "float32";
  atomic_write(directory / "config.json", hf_config_to_json(config));
  OwnedExec owned(1);
  std::vector<NamedTensor> tensors;
  uint64_t seed = options.seed * 1000;
  for (const auto& spec : parameter_list(m)) {
    Shape shape = spec.shape;
    if (spec.kind == ParameterKind::routed_expert) shape.erase(shape.begin());
    for (int64_t e = 0; e < spec.n_experts(); ++e) {
      Tensor tensor = Tensor::empty(owned.exec, DType::f32, shape);
      RandomStream stream{seed++, stream_id("test.served"), 0};
      for (int64_t i = 0; i < tensor.count(); ++i) tensor.data<float>()[i] = float(0.3 * stream.normal());
      tensors.push_back({spec.hf_name_of(e), tensor});
    }
  }
  save_safetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
  if (options.tokenizer) testing::small_tokenizer(options.words).save(directory.string());
  if (options.chat) atomic_write(directory / "chat_template.jinja", options.chat_template);
}

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

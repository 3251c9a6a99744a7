#include "server/service.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "server/api_error.h"
#include "server/base64.h"
#include "server/chat.h"
#include "server/completions.h"
#include "server/constraints.h"
#include "server/embedded.h"
#include "server/page.h"
#include "server/responses.h"
#include "server/token_requests.h"

namespace hadal {
namespace {

struct Endpoint {
  const char* method;
  const char* path;
};
constexpr Endpoint kEndpoints[] = {{"GET", "/"},
                                   {"GET", "/health"},
                                   {"GET", "/metrics"},
                                   {"GET", "/openapi.json"},
                                   {"GET", "/tokenizer_info"},
                                   {"GET", "/v1/models"},
                                   {"POST", "/tokenize"},
                                   {"POST", "/detokenize"},
                                   {"POST", "/v1/completions"},
                                   {"POST", "/v1/chat/completions"},
                                   {"POST", "/v1/responses"},
                                   {"POST", "/v1/weights"},
                                   {"POST", "/v1/embeddings"}};
constexpr size_t kMostCompiling = 16;  // requests that wait for the forms of their answers to be compiled
constexpr std::string_view kOneModel = "/v1/models/";

// The endpoint's name, whatever stands behind it.
std::string endpoint_of(const std::string& path) { return path.starts_with(kOneModel) ? "/v1/models" : path; }

std::array<uint8_t, 32> hash_of(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.digest();
}

std::string_view behind(std::string_view text, std::string_view scheme) {  // "Bearer x" -> "x"
  if (text.size() <= scheme.size() || text[scheme.size()] != ' ') return {};
  for (size_t i = 0; i < scheme.size(); ++i)
    if ((text[i] | 32) != (scheme[i] | 32)) return {};
  return text.substr(scheme.size() + 1);
}

HttpAnswer json_answer(const Json& json) { return {.body = json_text(json, {.lossy = true}) + "\n"}; }

}  // namespace

Service::Service(const TextModel& model, Engine& engine, const ServiceOptions& options)
    : model_(model, options.name, engine.longest_text()),
      engine_(engine),
      updates_(options.updates, model_, engine),
      metrics_(options.memory_read_speed),
      receipt_(options.receipt),
      parts_{model_, engine_, metrics_, open_choices_, receipt_, nullptr, false, options.most_choices},
      longest_wait_(options.longest_wait),
      compiling_(kMostCompiling) {
  check(options.updates.root.empty() || !options.key.empty(), ErrorKind::invalid,
        "--allow-updates lets whoever has the API key exchange weights, so there must be one: --api-key-file");
  if (!options.key.empty()) key_ = hash_of(options.key);
  if (model.tokenizer) parts_.grammars = &grammars_.emplace(*model.tokenizer, options.grammars);
}

// Time tells nothing of the key: hashes of one length are compared to their end.
bool Service::knows_key(const HttpRequest& head) const {
  if (!key_) return true;
  const std::string_view field = head.field("authorization");
  std::string given(behind(field, "Bearer"));
  if (const auto basic = behind(field, "Basic"); !basic.empty()) {  // browsers ask people for it: any name, the key
    const std::string both = from_base64(basic);
    const size_t colon = both.find(':');
    given = colon == std::string::npos ? "" : both.substr(colon + 1);
  }
  const auto hash = hash_of(given);
  unsigned different = 0;
  for (size_t i = 0; i < hash.size(); ++i) different |= unsigned(hash[i] ^ (*key_)[i]);
  return different == 0;
}

std::optional<HttpAnswer> Service::admit(const HttpRequest& head) const {
  const std::string path = endpoint_of(head.path), method = head.method == "HEAD" ? "GET" : head.method;
  if (path != "/health" && !knows_key(head)) {
    metrics_.count_answer("refused", 401);
    HttpAnswer answer = error_answer(
        ApiError(401, "a wrong or no API key; send the field 'Authorization: Bearer KEY'", "", "invalid_api_key"));
    answer.fields.emplace_back("WWW-Authenticate", path == "/" ? "Basic realm=\"hadal\"" : "Bearer");
    return answer;
  }
  std::string allowed;
  for (const Endpoint& one : kEndpoints) {
    if (path != one.path) continue;
    allowed = one.method;
    if (method != allowed) continue;
    const std::string refusal = path == "/v1/weights" ? updates_.refusal() : "";
    if (refusal.empty()) return {};
    metrics_.count_answer("refused", 403);
    return error_answer(ApiError(403, refusal, "", "updates_not_allowed"));
  }
  if (allowed.empty()) {
    metrics_.count_answer("refused", 404);
    return error_answer(
        ApiError(404, fmt::format("nothing is at '{}'; /openapi.json says what is", head.path.substr(0, 100))));
  }
  metrics_.count_answer("refused", 405);
  HttpAnswer answer =
      error_answer(ApiError(405, fmt::format("{} takes {}, not {}", path, allowed, head.method.substr(0, 20))));
  answer.fields.emplace_back("Allow", allowed == "GET" ? "GET, HEAD" : allowed);
  return answer;
}

HttpAnswer Service::health() const {
  try {
    model_.check_intact();
  } catch (const std::exception&) {
    return error_answer(ApiError(503, "the model's files were changed while they were served"));
  }
  return {.type = "text/plain; charset=utf-8", .body = "ok\n"};
}

Json Service::models() const {
  Json model = {{"id", model_.name()},
                {"object", "model"},
                {"created", model_.created()},
                {"owned_by", "hadal"},
                {"root", model_.name()},
                {"max_model_len", model_.positions()},
                {"weights_version", engine_.weights_version()},
                {"has_tokenizer", model_.tokenizer() != nullptr},
                {"has_chat_template", model_.has_chat()},
                {"has_fim", model_.tokenizer() != nullptr && model_.tokenizer()->fim_hole_id().has_value()}};
  return model;
}

HttpAnswer Service::get(const std::string& path) const {
  if (path == "/") return page_answer();
  if (path == "/health") return health();
  if (path == "/openapi.json") return {.body = kOpenApi};
  if (path == "/tokenizer_info") return json_answer(tokenizer_info(model_));
  if (path == "/v1/models") return json_answer({{"object", "list"}, {"data", Json::array({models()})}});
  if (path == "/metrics") {
    const HttpServer* server = server_;
    return {.type = "text/plain; version=0.0.4; charset=utf-8",
            .body = metrics_.text(engine_.counts(), server != nullptr ? server->counts() : HttpCounts{})};
  }
  if (const std::string name = path.substr(kOneModel.size()); name != model_.name())
    throw ApiError(404, fmt::format("the model '{}' is not served here; '{}' is", name.substr(0, 100), model_.name()),
                   "model", "model_not_found");
  return json_answer(models());
}

// Answers, now or as tokens come. Throws FormNotCompiled, and nothing has happened.
void Service::post(const ServingParts& parts, const std::string& endpoint, const Json& json,
                   const std::shared_ptr<HttpReply>& reply) {
  try {
    if (endpoint == "/v1/completions")
      start_completion(parts, json, reply);
    else if (endpoint == "/v1/chat/completions")
      start_chat(parts, json, reply);
    else if (endpoint == "/v1/responses")
      start_response(parts, json, reply);
    else if (endpoint == "/v1/weights")
      updates_.start(json, reply);
    else
      reply->answer(json_answer(endpoint == "/tokenize" ? tokenize(model_, json) : detokenize(model_, json)));
    metrics_.count_answer(endpoint, 200);
  } catch (const std::exception& error) {
    refuse_request(endpoint, error, reply);
  }
}

// On a thread of its own, one after the other: nobody waits for these but those who must compile too.
void Service::post_compiling(const std::string& endpoint, Json json, const std::shared_ptr<HttpReply>& reply) {
  const auto work = [this, endpoint, json = std::move(json), reply, since = steady_seconds()] {
    if (reply->gone()) return;
    if (steady_seconds() - since > longest_wait_)
      return refuse_request(
          endpoint,
          ApiError(503, "the forms of other answers took too long to compile; ask again later", "", "overloaded"),
          reply);
    ServingParts parts = parts_;
    parts.compiles = true;
    post(parts, endpoint, json, reply);
  };
  if (!compiling_.take(work))
    throw ApiError(429, "too many requests wait for the forms of their answers to be compiled; ask again later", "",
                   "overloaded");
}

void Service::refuse_request(const std::string& endpoint, const std::exception& error,
                             const std::shared_ptr<HttpReply>& reply) {
  const ApiError known = api_error_of(error);
  metrics_.count_answer(endpoint, known.status);
  reply->answer(error_answer(known));
}

void Service::handle(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const std::string endpoint = endpoint_of(request.path);
  try {
    if (request.method != "POST") {
      reply->answer(get(request.path));
      metrics_.count_answer(endpoint, 200);
      return;
    }
    if (endpoint == "/v1/embeddings")
      throw ApiError(400, "embeddings are not offered: this is a model that writes text", "", "unsupported_endpoint");
    Json json = json_of_body(request.body);
    try {
      post(parts_, endpoint, json, reply);
    } catch (const FormNotCompiled&) {
      post_compiling(endpoint, std::move(json), reply);
    }
  } catch (const std::exception& error) {
    refuse_request(endpoint, error, reply);
  }
}

HttpHandler Service::handler() {
  return {
      .admit = [this](const HttpRequest& head) { return admit(head); },
      .handle = [this](const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) { handle(request, reply); },
      .refuse = [](int status, const std::string& message) { return error_answer(ApiError(status, message)); }};
}

}  // namespace hadal

#include "server/api_error.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace hadal {
namespace {

const char* type_of(int status) {
  if (status == 401) return "authentication_error";
  if (status == 404) return "not_found_error";
  if (status == 429) return "rate_limit_error";
  return status < 500 || status == 501 ? "invalid_request_error" : "server_error";
}

nlohmann::ordered_json text_or_null(const std::string& text) {
  return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
}

}  // namespace

std::string error_json(const ApiError& error) {
  const nlohmann::ordered_json json = {{"error",
                                        {{"message", error.message},
                                         {"type", type_of(error.status)},
                                         {"param", text_or_null(error.param)},
                                         {"code", text_or_null(error.code)}}}};
  return json_text(json, {.lossy = true});
}

HttpAnswer error_answer(const ApiError& error) {
  HttpAnswer answer{.status = error.status, .body = error_json(error) + "\n"};
  if (error.status == 503 || error.status == 429) answer.fields.emplace_back("Retry-After", "1");
  return answer;
}

ApiError api_error_of(const std::exception& error) {
  if (const auto* own = dynamic_cast<const ApiError*>(&error)) return *own;
  if (const auto* known = dynamic_cast<const Error*>(&error)) {
    const bool of_peer = known->kind() == ErrorKind::invalid || known->kind() == ErrorKind::unsupported;
    return ApiError(of_peer ? 400 : 500, known->what());
  }
  return ApiError(500, error.what());
}

}  // namespace hadal

// ApiError: a request that is refused, in the shape of OpenAI's API:
//   {"error": {"message": ..., "type": ..., "param": ..., "code": ...}}
#pragma once
#include <fmt/format.h>

#include <exception>
#include <string>
#include <utility>

#include "server/http_message.h"

namespace hadal {

struct ApiError : std::exception {
  ApiError(int s, std::string m, std::string p = "", std::string c = "")
      : status(s), message(std::move(m)), param(std::move(p)), code(std::move(c)) {}
  const char* what() const noexcept override { return message.c_str(); }

  int status;
  std::string message;
  std::string param, code;  // the field that is wrong; a word for programs. Empty: null
};

// 400 about a field, or about the request where param is empty.
template <class... Args>
[[noreturn]] void refuse(const std::string& param, fmt::format_string<Args...> format, Args&&... args) {
  throw ApiError(400, fmt::format(format, std::forward<Args>(args)...), param);
}

HttpAnswer error_answer(const ApiError& error);
std::string error_json(const ApiError& error);  // the object alone, on one line
// What was thrown, as such an answer: an ApiError as it is, an Error by its kind, everything else a 500.
ApiError api_error_of(const std::exception& error);

}  // namespace hadal

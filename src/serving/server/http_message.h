// A request as it came over HTTP, and the answer to it: given whole, or begun and streamed piece by piece.
#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

using HttpFields = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method, path, query;  // "POST", "/v1/completions", what stands behind '?'
  HttpFields fields;                // names in lower case, in their order
  std::string body;

  std::string_view field(std::string_view name) const {  // empty where it is absent
    for (const auto& [key, value] : fields)
      if (key == name) return value;
    return {};
  }
  void add(std::string_view name, std::string_view value) {
    std::string lower(name);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? char(c + 32) : c;
    fields.emplace_back(std::move(lower), std::string(value));
  }
};

inline HttpRequest http_request_of(std::string_view method, std::string_view target) {
  const size_t mark = std::min(target.find('?'), target.size());
  return {.method = std::string(method),
          .path = std::string(target.substr(0, mark)),
          .query = std::string(target.substr(std::min(mark + 1, target.size())))};
}

struct HttpAnswer {
  int status = 200;
  std::string type = "application/json", body;
  HttpFields fields = {};
};

// The way back to the peer. Every function may be called from any thread; nothing is sent twice, and what is sent after
// the peer has left goes nowhere.
class HttpReply {
 public:
  virtual ~HttpReply() = default;
  virtual void answer(HttpAnswer answer) = 0;            // whole; at most once, or begin()
  virtual void begin(int status, std::string type) = 0;  // a stream begins
  virtual void piece(std::string bytes) = 0;             // of the stream; waits its turn in bounded memory
  virtual void end() = 0;
  virtual bool gone() const = 0;  // the peer left, or was cut off because it did not read
  // Called once when the peer leaves before the end, at once if it has left. What it holds is let go at the end.
  virtual void on_gone(std::function<void()> cancel) = 0;
  // Runs this on a worker: for what takes longer than a step of the engine may.
  virtual void later(std::function<void()> work) = 0;
};

}  // namespace hadal

#include "server/http_text.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>

namespace hadal {
namespace {

constexpr const char* kAlways = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";

const char* status_text(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return status < 500 ? "Refused" : "Internal Server Error";
  }
}

}  // namespace

std::string http_answer_text(const HttpAnswer& answer, const HttpManner& manner) {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}", answer.status,
                                 status_text(answer.status), answer.type, answer.body.size(), kAlways);
  for (const auto& [name, value] : answer.fields) text += name + ": " + value + "\r\n";
  if (!manner.goes_on)
    text += "Connection: close\r\n";
  else if (!manner.one_dot_one)
    text += "Connection: keep-alive\r\n";
  text += "\r\n";
  return manner.method == "HEAD" ? text : text + answer.body;
}

std::string http_stream_head(int status, const std::string& type, const HttpManner& manner) {
  return fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\n{}{}{}\r\n", status, status_text(status), type, kAlways,
                     manner.one_dot_one ? "Transfer-Encoding: chunked\r\n" : "",
                     manner.goes_on ? "" : "Connection: close\r\n");
}

std::string http_url(const std::string& host, int port) {
  return fmt::format("http://{}:{}", host.find(':') == std::string::npos ? host : "[" + host + "]", port);
}

bool peer_left(int socket) {
  pollfd peer{socket, POLLRDHUP, 0};
  return ::poll(&peer, 1, 0) > 0 && (peer.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

int64_t connections_allowed() {
  constexpr rlim_t kWanted = 4096 + 64;  // 64: the model's files, and what else is open
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  if (limit.rlim_cur < std::min(kWanted, limit.rlim_max)) {
    limit.rlim_cur = std::min(kWanted, limit.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  return std::clamp<int64_t>(int64_t(std::min(limit.rlim_cur, kWanted)) - 64, 16, 4096);
}

}  // namespace hadal

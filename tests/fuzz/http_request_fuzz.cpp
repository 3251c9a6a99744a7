// libFuzzer: any bytes to the HTTP server over a socket, which the peer then closes for writing. What comes to the
// handler is a request as it may be; every answer is one; afterwards the server serves on.
// room: server
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "server/http_server.h"

namespace {

using namespace hadal;

constexpr int64_t kBodyBytes = 1024;

void require(bool condition) {
  if (!condition) std::abort();
}

HttpServer& server() {
  static const auto own = [] {
    HttpOptions options;
    options.port = 0;
    options.head_bytes = 2048, options.body_bytes = kBodyBytes;
    HttpHandler handler;
    handler.admit = [](const HttpRequest& head) -> std::optional<HttpAnswer> {
      if (head.path == "/refused") return HttpAnswer{.status = 404, .body = "no"};
      return {};
    };
    handler.handle = [](const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
      require(request.path.starts_with('/') && request.path.find('?') == std::string::npos);
      require(!request.method.empty() && int64_t(request.body.size()) <= kBodyBytes);
      for (const auto& [name, value] : request.fields)
        require((name + value).find_first_of(std::string("\r\n\0", 3)) == std::string::npos);
      if (request.path != "/stream") return reply->answer({.body = request.body});
      reply->begin(200, "text/plain");
      reply->piece(request.body);
      reply->end();
    };
    handler.refuse = [](int status, const std::string& message) {
      require(status >= 400 && !message.empty());
      return HttpAnswer{.status = status, .body = message};
    };
    return std::make_unique<HttpServer>(options, handler);
  }();
  return *own;
}

sockaddr_in loopback(uint32_t machine, int port) {  // machine: of the 127.0.0.0/8 that are all this one
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(uint16_t(port));
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK + machine);
  return place;
}

// What comes back. Ports of closed connections wait for late packets: 28000 of each address, so it changes.
std::string answers_to(const std::string& bytes, bool ends) {
  static uint32_t n = 0;
  const sockaddr_in place = loopback(0, server().port()), own = loopback(++n % 65536, 0);
  const int peer = ::socket(AF_INET, SOCK_STREAM, 0);
  require(::bind(peer, reinterpret_cast<const sockaddr*>(&own), sizeof(own)) == 0);
  require(::connect(peer, reinterpret_cast<const sockaddr*>(&place), sizeof(place)) == 0);
  ::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (ends) ::shutdown(peer, SHUT_WR);
  std::string all(1 << 16, '\0');
  size_t size = 0;
  for (ssize_t n = 1; n > 0 && size < all.size(); size += size_t(std::max<ssize_t>(n, 0))) {
    pollfd one{peer, POLLIN, 0};
    require(::poll(&one, 1, 10000) > 0);
    n = ::recv(peer, all.data() + size, all.size() - size, 0);
  }
  ::close(peer);
  return all.substr(0, size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string answer = answers_to({reinterpret_cast<const char*>(data), size}, true);
  require(answer.empty() || answer.starts_with("HTTP/1.1 "));
  static uint64_t n = 0;
  if (++n % 256 == 0)
    require(answers_to("POST /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false)
                .ends_with("\r\n\r\nok"));
  return 0;
}

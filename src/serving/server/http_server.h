// HTTP/1.1 in front of a handler: one thread moves bytes, a few workers run the handler, so that no request waits for
// another's work. Nothing that a peer sends ends the process: what is malformed, too large, too slow or from a foreign
// origin is answered with a 4xx in the handler's words and the connection is closed. TLS is left to a proxy.
//
// Limits: bytes of the head, of the body (chunked ones too) and of all bodies that are not small, seconds for each,
// seconds that a connection may idle, seconds without progress of a peer that does not read, bytes that may wait for
// it, connections. Where connections run out, the one that has idled longest is closed for the new one.
//
// A browser's page of another site can reach a server on this machine. So Host must be a name of this server (where it
// listens on the loopback, which is where names lie), and Origin, if there is one, must be the Host.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/http_message.h"

namespace hadal {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8000;                 // 0: any free one
  std::vector<std::string> names;  // further names in Host, for a proxy
  int64_t head_bytes = 32 << 10, body_bytes = 16 << 20;
  double head_seconds = 15, body_seconds = 60, idle_seconds = 75;
  double stalled_seconds = 30;       // a peer that reads nothing
  int64_t waiting_bytes = 16 << 20;  // for one peer; more: it is cut off
  int64_t held_bytes = 512 << 20;    // of all bodies together
  int64_t connections = 0;           // 0: as many as the system's descriptors allow, at most 4096
  int workers = 2;
};

struct HttpHandler {
  // Decides by the head alone, before a byte of the body is read: an answer refuses. Runs on the thread that moves
  // bytes, so it is quick.
  std::function<std::optional<HttpAnswer>(const HttpRequest& head)> admit;
  // On a worker. What it throws is a 500.
  std::function<void(HttpRequest request, std::shared_ptr<HttpReply> reply)> handle;
  // The body of a refusal by the server itself.
  std::function<HttpAnswer(int status, const std::string& message)> refuse;
};

struct HttpCounts {
  int64_t connections = 0, accepted = 0, cut_off = 0;
};

class HttpServer {
 public:
  // Binds and listens. Throws io, naming what to do, for a port in use; invalid for a host that is no address of this
  // machine.
  HttpServer(const HttpOptions& options, HttpHandler handler);
  ~HttpServer();

  int port() const;
  std::string url() const;
  HttpCounts counts() const;
  // Takes no new connection or request; what runs is finished. Returns when all is sent.
  void drain();

  struct Impl;  // named by connections, in http_server.cpp

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace hadal

// Serving: a model behind HTTP, all of it: the engine on a thread of its own, the service over both, the server in
// front. It runs from its construction to its end.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "server/http_server.h"
#include "server/service.h"

namespace hadal {

struct ServingOptions {
  HttpOptions http;
  ServiceOptions service;
  EngineOptions engine;
  int64_t packing_room = INT64_MAX;  // bytes that packed weights may take beside the others
};

class Serving {
 public:
  // All three must outlive it.
  Serving(const Exec& exec, const TextModel& model, const ServingOptions& options);
  ~Serving();  // cancels what still runs; drain() first lets it end

  std::string url() const { return server_->url(); }
  int port() const { return server_->port(); }
  HttpCounts http_counts() const { return server_->counts(); }
  EngineCounts engine_counts() const { return engine_.counts(); }
  int64_t longest_text() const { return engine_.longest_text(); }  // tokens of prompt and answer together
  void drain() { server_->drain(); }
  // Throws what ended the engine, if something did.
  void check_alive() const;
  // Throws corrupt, naming it, once a file of the weights that are served changed.
  void check_intact() const { service_.check_intact(); }

 private:
  Engine engine_;
  Service service_;
  mutable std::mutex mutex_;
  std::exception_ptr ended_by_;
  std::jthread steps_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace hadal

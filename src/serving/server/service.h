// Service: OpenAI's API over one model and its engine. It knows endpoints, keys and answers; the HTTP server in front
// knows bytes and peers.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "server/http_server.h"
#include "server/job.h"
#include "server/receipt.h"
#include "server/side_thread.h"
#include "server/weight_updates.h"

namespace hadal {

struct ServiceOptions {
  std::string name;             // of the model, as requests say it
  std::string key;              // empty: everybody may ask
  int64_t most_choices = 1024;  // under way at a time
  Receipt receipt;              // what all receipts have in common
  UpdateOptions updates;        // who may exchange weights: those with the key, where there is one
  GrammarLimits grammars;
  double memory_read_speed = 0;  // bytes a second (base/read_probe.h), for the metrics; 0: not known
  double longest_wait = 30;      // seconds, for the form of an answer that must be compiled behind others
};

class Service {
 public:
  Service(const TextModel& model, Engine& engine, const ServiceOptions& options);
  Service(const Service&) = delete;

  HttpHandler handler();                                       // the service must outlive the server
  void watch(const HttpServer& server) { server_ = &server; }  // for its counts; null again before it goes
  void unwatch() { server_ = nullptr; }

  void check_intact() const { model_.check_intact(); }  // of the served files: throws corrupt

 private:
  std::optional<HttpAnswer> admit(const HttpRequest& head) const;
  void handle(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  bool knows_key(const HttpRequest& head) const;
  void post(const ServingParts& parts, const std::string& endpoint, const Json& json,
            const std::shared_ptr<HttpReply>& reply);
  void post_compiling(const std::string& endpoint, Json json, const std::shared_ptr<HttpReply>& reply);
  void refuse_request(const std::string& endpoint, const std::exception& error,
                      const std::shared_ptr<HttpReply>& reply);
  HttpAnswer get(const std::string& path) const;
  HttpAnswer health() const;
  Json models() const;

  ServedModel model_;
  Engine& engine_;
  WeightUpdates updates_;
  mutable Metrics metrics_;
  std::atomic<int64_t> open_choices_ = 0;
  Receipt receipt_;
  std::optional<Grammars> grammars_;
  ServingParts parts_;
  const double longest_wait_;
  std::optional<std::array<uint8_t, 32>> key_;  // its hash
  std::atomic<const HttpServer*> server_ = nullptr;
  SideThread compiling_;  // last: it uses all of the others
};

}  // namespace hadal

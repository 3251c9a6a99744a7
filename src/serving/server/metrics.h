// Metrics: what the server counts and times since its start, as Prometheus reads it (text format 0.0.4).
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/http_server.h"

namespace hadal {

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void add(double value);
  void print(std::string& out, const std::string& name, const char* help) const;

 private:
  mutable std::mutex mutex_;
  std::vector<double> bounds_;  // upper ones
  std::vector<int64_t> counts_;
  double sum_ = 0;
  int64_t n_ = 0;
};

class Metrics {
 public:
  explicit Metrics(double memory_read_speed = 0);  // of this machine, bytes a second; 0: not known
  void count_answer(const std::string& endpoint, int status);
  void first_token(double seconds) { first_token_.add(seconds); }
  void next_token(double seconds) { next_token_.add(seconds); }
  void whole_request(double seconds) { whole_.add(seconds); }
  std::string text(const EngineCounts& engine, const HttpCounts& http) const;

 private:
  const double memory_read_speed_;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> answers_;
  Histogram first_token_, next_token_, whole_;
};

}  // namespace hadal

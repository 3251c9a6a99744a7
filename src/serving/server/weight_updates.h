// POST /v1/weights: the served weights are exchanged for those of another directory on the server's disk:
//   {"directory": "step-2000", "running": "finish" | "restart"}
// They are loaded beside the old ones, on a thread of their own, while the engine goes on; the exchange itself happens
// between two of its steps. Whatever fails before that, or a peer that leaves before, changes nothing.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/engine.h"
#include "server/http_message.h"
#include "server/served_model.h"

namespace hadal {

struct UpdateOptions {
  std::string root;  // a client names directories below it; empty: weights are not exchanged
  std::function<TextModel(const std::string& directory)> load;  // in the form in which the served ones are
};

class WeightUpdates {
 public:
  // The model and the engine must outlive it. Throws invalid for a root that is no directory.
  WeightUpdates(UpdateOptions options, ServedModel& model, Engine& engine);
  ~WeightUpdates();  // an exchange under way is given up where it can be, and waited for

  // Why nobody may exchange weights here; empty: one may.
  std::string refusal() const;
  // Answers when the new weights serve, or says why they do not. Throws ApiError for what is refused at once.
  void start(const Json& request, std::shared_ptr<HttpReply> reply);

 private:
  struct Asked {
    std::string directory, path;  // as it was named, and where that is
    std::string how;
  };
  Json exchange(const Asked& asked, const HttpReply& reply, std::stop_token stop);

  UpdateOptions options_;
  ServedModel& model_;
  Engine& engine_;
  std::mutex mutex_;  // of both below
  bool under_way_ = false;
  std::jthread thread_;
};

}  // namespace hadal

#include "server/serving.h"

namespace hadal {
namespace {

ServiceOptions with_receipt(const Exec& exec, const TextModel& model, ServiceOptions options) {
  options.receipt = receipt_of(exec, *model.model.transformer, options.name);
  return options;
}

}  // namespace

Serving::Serving(const Exec& exec, const TextModel& model, const ServingOptions& options)
    : engine_(exec, *model.model.transformer, options.engine),
      service_(model, engine_, with_receipt(exec, model, options.service)) {
  server_ = std::make_unique<HttpServer>(options.http, service_.handler());  // first: a port in use is said at once
  service_.watch(*server_);
  steps_ = std::jthread([this](std::stop_token stop) {
    try {
      engine_.run(stop);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      ended_by_ = std::current_exception();
    }
  });
}

Serving::~Serving() {
  service_.unwatch();
  server_.reset();  // no request comes any more
  steps_.request_stop();
  if (steps_.joinable()) steps_.join();
}

void Serving::check_alive() const {
  const std::lock_guard lock(mutex_);
  if (ended_by_) std::rethrow_exception(ended_by_);
}

}  // namespace hadal

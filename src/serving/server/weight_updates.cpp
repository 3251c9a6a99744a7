#include "server/weight_updates.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "config/config_io.h"
#include "server/api_error.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

// Links are followed before the question where it lies is asked. What lies elsewhere is refused as what is not there:
// nobody learns from here what else the disk holds.
std::string directory_below(const std::string& root, const std::string& name) {
  std::error_code error;
  const fs::path top = root, path = fs::canonical(top / name, error);
  const auto [end, rest] = std::mismatch(top.begin(), top.end(), path.begin(), path.end());
  const bool below = !error && end == top.end() && rest != path.end() && fs::is_directory(path, error);
  if (!below || name.find('\0') != std::string::npos)
    refuse("directory", "directory = {} must be a directory below the one that --allow-updates names",
           shown(Json(name)));
  return path.string();
}

// Throws invalid, naming what differs, where one cannot be served in place of the other.
void check_same_kind(const TextModel& served, const TextModel& fresh, const std::string& name) {
  Config old_config, new_config;
  old_config.model = served.model.transformer->config(), new_config.model = fresh.model.transformer->config();
  old_config.model.init_std = new_config.model.init_std;  // of a training's beginning alone
  const auto differences = config_differences(old_config, new_config);
  check(differences.empty(), ErrorKind::invalid, "{} is another model than the one that is served: {}", name,
        fmt::join(differences, ", "));
  check(!served.tokenizer || !fresh.tokenizer || served.tokenizer->content_hash() == fresh.tokenizer->content_hash(),
        ErrorKind::invalid, "{} has another tokenizer than the model that is served", name);
}

// The served model's parameters take the values of the other's, which takes theirs.
void exchange_values(const Transformer& served, const Transformer& fresh) {
  const Parameters mine = served.parameters(), others = fresh.parameters();
  for (size_t i = 0; i < mine.size(); ++i) {
    std::swap(mine[i]->value, others[i]->value);
    std::swap(mine[i]->master, others[i]->master);
  }
}

// What a directory holds is the client's choice: what is wrong with it is the request's fault.
ApiError error_of_update(const std::exception& error) {
  ApiError known = api_error_of(error);
  const auto* own = dynamic_cast<const Error*>(&error);
  if (own == nullptr) return known;
  if (own->kind() == ErrorKind::not_found || own->kind() == ErrorKind::corrupt) known.status = 400;
  if (own->kind() == ErrorKind::out_of_memory || own->kind() == ErrorKind::failed) known.status = 503;
  return known;
}

}  // namespace

WeightUpdates::WeightUpdates(UpdateOptions options, ServedModel& model, Engine& engine)
    : options_(std::move(options)), model_(model), engine_(engine) {
  if (options_.root.empty()) return;
  std::error_code error;
  const fs::path root = fs::canonical(options_.root, error);
  check(!error && fs::is_directory(root), ErrorKind::invalid, "--allow-updates {} must be a directory", options_.root);
  options_.root = root.string();
}

WeightUpdates::~WeightUpdates() = default;

std::string WeightUpdates::refusal() const {
  return options_.root.empty() ? "weights are not exchanged here; hadal serve --allow-updates DIR, with an API key, "
                                 "lets those that have the key do it"
                               : "";
}

void WeightUpdates::start(const Json& json, std::shared_ptr<HttpReply> reply) {
  const JsonFields fields(json);
  fields.check_names({{"model", "directory", "running"}});
  model_.check_name(fields);
  const auto name = fields.text("directory");
  if (!name) refuse("directory", "directory is missing: one with a model, below the one that --allow-updates names");
  Asked asked{*name, directory_below(options_.root, *name), fields.text("running").value_or("finish")};
  if (asked.how != "finish" && asked.how != "restart")
    refuse("running", "running = {} must be \"finish\" (those that run end with the old weights) or \"restart\"",
           shown(Json(asked.how)));
  const std::lock_guard lock(mutex_);
  if (under_way_) throw ApiError(409, "weights are being exchanged already; ask again later", "", "update_under_way");
  under_way_ = true;
  thread_ = std::jthread([this, asked = std::move(asked), reply = std::move(reply)](std::stop_token stop) {
    HttpAnswer answer;
    try {
      answer.body = json_text(exchange(asked, *reply, stop), {.lossy = true}) + "\n";
    } catch (const std::exception& error) {
      answer = error_answer(error_of_update(error));
    }
    {
      const std::lock_guard done(mutex_);
      under_way_ = false;
    }
    reply->answer(std::move(answer));
  });
}

Json WeightUpdates::exchange(const Asked& asked, const HttpReply& reply, std::stop_token stop) {
  const auto check_wanted = [&] {
    check(!reply.gone() && !stop.stop_requested(), ErrorKind::failed, "nobody waits for the new weights any more");
  };
  const double start = steady_seconds();
  const TextModel fresh = options_.load(asked.path);
  const TextModel& served = model_.text_model();
  check_same_kind(served, fresh, asked.directory);
  fresh.model.check_intact();
  const std::string identity = fresh.model.source.files->identity();
  const double loaded = steady_seconds();
  const auto change = [&] {
    check_wanted();
    exchange_values(*served.model.transformer, *fresh.model.transformer);
    model_.watch(fresh.model.source.files, identity);
  };
  check_wanted();
  engine_.swap_weights(change, asked.how == "finish" ? SwapWeights::finish : SwapWeights::restart).get();
  return {{"weights_version", engine_.weights_version()},
          {"directory", asked.directory},
          {"running", asked.how},
          {"load_seconds", loaded - start},
          {"exchange_seconds", steady_seconds() - loaded}};
}

}  // namespace hadal

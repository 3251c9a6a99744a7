// hadal serve: a model behind OpenAI's API over HTTP, and a page to try it at /.
#include "apps/serve.h"

#include <fmt/ranges.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

#include "apps/model_choice.h"
#include "apps/sampling_options.h"
#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/read_probe.h"
#include "base/text_format.h"
#include "dialogue/text_model.h"
#include "schedule/schedule.h"
#include "server/serving.h"

namespace hadal {
namespace {

constexpr int64_t kManyTokens = 100'000;  // enough to repay packing, if there is memory for it

struct ServeOptions {
  ModelChoice model;
  std::string name, key_file, updates;
  uint64_t cache_bytes = 0;
  ServingOptions serving;
  CommonOptions common;
};

// From a file rather than the command line, where every user of the machine could read it.
std::string read_key(const ServeOptions& o) {
  const char* const from_environment = std::getenv("HADAL_API_KEY");
  std::string key = from_environment != nullptr ? from_environment : "";
  const std::string where = o.key_file.empty() ? "HADAL_API_KEY" : o.key_file;
  if (!o.key_file.empty()) {
    key = read_file(o.key_file);
    while (!key.empty() && (key.back() == '\n' || key.back() == '\r')) key.pop_back();
  }
  check(o.key_file.empty() || !key.empty(), ErrorKind::invalid, "{}: holds no API key; it is the file's one line",
        where);
  for (const char c : key)
    check(c > ' ' && c < 127, ErrorKind::invalid, "{}: an API key is one word of ASCII letters, digits and signs",
          where);
  return key;
}

std::string name_of(const ServeOptions& o) {
  if (!o.name.empty()) return o.name;
  std::filesystem::path path = std::filesystem::absolute(o.model.directory).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

// Other weights are loaded as these were, by one thread: the engine's go on.
UpdateOptions updates_of(const ServeOptions& o, const Exec& exec, const TextModel& loaded) {
  check(exec.device.kind == DeviceKind::cpu, ErrorKind::unsupported,
        "--allow-updates is not offered with --device {}: weights are exchanged in the host's memory alone",
        device_name(exec.device));
  LoadOptions load = o.model.load;
  load.precision = loaded.model.transformer->options().precision;
  load.attention_form = loaded.model.transformer->options().attention_form;
  return {o.updates, [load, isa = exec.isa, engine = o.serving.engine,
                      room = o.serving.packing_room](const std::string& directory) {
            const OwnedExec owned(1, isa);
            TextModel fresh = load_text_model(directory, load, owned.exec);
            pack_for(owned.exec, *fresh.model.transformer, kManyTokens, draft_modules(*fresh.model.transformer, engine),
                     room);
            return fresh;
          }};
}

// --memory on the CPU: what the weights and the working memory of a step leave is the cache's, and what that leaves may
// hold the weights once more, packed. Throws invalid, saying the least that can, where nothing is left.
void share_memory(int64_t most, const Exec& exec, const TextModel& loaded, ServingOptions& serving) {
  const Transformer& model = *loaded.model.transformer;
  EngineOptions& engine = serving.engine;
  const int64_t weights = loaded.model.counts.mapped_bytes + loaded.model.counts.packed_bytes;
  const int64_t step = model.moving_bytes(engine.step_tokens, model.config().max_positions, exec.compute->n_threads(),
                                          forward_only(1), {});
  const int64_t block = model.cache_block_bytes(draft_modules(model, engine));
  const int64_t asked = std::max(engine.cache_bytes, block), least = weights + step + asked,
                left = most - weights - step;
  check(left >= asked, ErrorKind::invalid,
        "--memory {}: the weights take {}, a step of {} tokens {} and {} {}; the least that can serve is {}KiB",
        format_bytes(double(most)), format_bytes(double(weights)), engine.step_tokens, format_bytes(double(step)),
        engine.cache_bytes > 0 ? "--cache-bytes" : "the cache of one short text", format_bytes(double(asked)),
        (least + 1023) / 1024);
  if (engine.cache_bytes == 0) engine.cache_bytes = std::min(left, block * cache_blocks_for(exec, model, engine));
  serving.packing_room = left - engine.cache_bytes;
}

int run_serving(ServeOptions& o) {
  ServingOptions& serving = o.serving;
  serving.service.name = name_of(o);
  serving.service.key = read_key(o);
  const std::string memory = o.common.device == "cpu" ? std::exchange(o.common.memory, "") : "";
  auto exec = o.common.exec();
  const TextModel loaded = o.model.open(exec.exec, o.common.quiet);
  serving.engine.cache_bytes = int64_t(o.cache_bytes);
  if (!memory.empty()) share_memory(parse_bytes("--memory", memory), exec.exec, loaded, serving);
  if (!o.updates.empty()) serving.service.updates = updates_of(o, exec.exec, loaded);
  return serve_until_stopped(exec.exec, loaded, serving, o.common.quiet);
}

void say_start(const std::string& name, const TextModel& loaded, const Serving& serving, int64_t block_bytes) {
  const auto& transformer = *loaded.model.transformer;
  const LoadCounts& counts = loaded.model.counts;
  fmt::print(
      "hadal serves {} at {} in {}: {} of weights ({} mapped), {} cache blocks of {}, texts of up to {} tokens\n", name,
      serving.url(), enum_name(transformer.options().precision),
      format_bytes(double(counts.mapped_bytes + counts.packed_bytes)), format_bytes(double(counts.mapped_bytes)),
      serving.engine_counts().blocks, format_bytes(double(block_bytes)), serving.longest_text());
  std::fflush(stdout);
}

}  // namespace

int serve_until_stopped(const Exec& exec, const TextModel& loaded, const ServingOptions& given, bool quiet) {
  ServingOptions options = given;
  if (exec.device.kind == DeviceKind::cpu) options.service.memory_read_speed = memory_read_speed(exec.compute->pool());
  const int64_t n_mtp = draft_modules(*loaded.model.transformer, options.engine);
  pack_for(exec, *loaded.model.transformer, kManyTokens, n_mtp, options.packing_room);
  Serving running(exec, loaded, options);
  if (!loaded.tokenizer)
    print_notes({"this model has no tokenizer: prompts are token ids, answers have token_ids"}, quiet);
  const std::string& host = options.http.host;
  if (options.service.key.empty() && host != "127.0.0.1" && host != "localhost" && host != "::1")
    print_notes({fmt::format("whoever reaches {} may use this model: there is no --api-key-file", running.url())},
                quiet);
  const CleanStop polled("answering what runs, taking nothing new");
  const Transformer& model = *loaded.model.transformer;
  say_start(options.service.name, loaded, running, model.cache_block_bytes(n_mtp));
  std::exception_ptr damage;  // a file cut off or written over: nothing computed from it can be trusted any more
  for (int64_t look = 0; !interrupted() && !damage; ++look) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    running.check_alive();
    try {
      if (look % 20 == 0) running.check_intact();
    } catch (const Error&) {
      damage = std::current_exception();
    }
  }
  running.drain();  // who waits gets what it asked for, or hears of the damage
  if (damage) std::rethrow_exception(damage);
  return kExitFine;
}

void add_serve(Verb root, Cli& cli) {
  auto o = std::make_shared<ServeOptions>();
  o->serving.engine.drafts = EngineOptions::kAutomatic;
  Verb verb = root.add_verb("serve", "Serve a model over HTTP: OpenAI's API, and a page to try it");
  add_model_options(verb, o->model, {.ema = true, .attention_form = true, .formats = true});
  verb.add_option("--host", o->serving.http.host, "address to listen on; 0.0.0.0 lets other machines in")
      .show_default();
  verb.add_option("--port", o->serving.http.port, "port to listen on; 0 = any free one")
      .within(0, 65535)
      .show_default();
  verb.add_option("--name", o->name, "the model's name in requests; default: that of its directory");
  verb.add_option("--api-key-file", o->key_file,
                  "a file whose one line is the key that requests must bring; or set HADAL_API_KEY");
  verb.add_option("--allow-updates", o->updates,
                  "POST /v1/weights exchanges the weights for those of a directory below this one; needs an API key");
  verb.add_texts("--allow-host", o->serving.http.names, "a further name of this server, that of a proxy (repeatable)");
  verb.add_size("--cache-bytes", o->cache_bytes, "memory for the latent cache of all requests",
                "four texts of all positions, at most a quarter of the memory");
  verb.add_option("--max-running", o->serving.engine.max_running, "requests in one step")
      .within<int64_t>(1, 4096)
      .show_default();
  add_drafts_option(verb, o->serving.engine.drafts);
  add_place_options(verb, o->common);
  verb.add_examples({"hadal serve --model runs/demo",
                     "hadal serve --model DeepSeek-V2-Lite-Chat --port 0 --precision bf16 --cache-bytes 2GiB",
                     "curl http://127.0.0.1:8000/v1/completions -d '{\"prompt\": \"Once\", \"max_tokens\": 20}'"});
  cli.on(verb, [o] { return run_serving(*o); });
}

}  // namespace hadal

// The command line: parsing, the table of verbs, and how errors leave the program.
#include "apps/cli.h"

#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <new>

#include "apps/parse_errors.h"
#include "base/error.h"
#include "base/log.h"
#include "base/open_device.h"
#include "base/text_format.h"
#include "comm/mpi_transport.h"
#include "kernels/devices.h"

namespace hadal {

#define HADAL_VERB(name) void add_##name(Verb root, Cli& cli);
#include "apps/verbs.h"
#undef HADAL_VERB

namespace {

struct Entry {
  const char* name;
  void (*add)(Verb root, Cli& cli);
};

constexpr Entry kVerbs[] = {
#define HADAL_VERB(name) {#name, &add_##name},
#include "apps/verbs.h"
#undef HADAL_VERB
};

// Standard error may be closed as well (`2>&1 | head`), where fmt::print throws.
void say(const std::string& line) { std::fwrite(line.data(), 1, line.size(), stderr); }

void print_error(const std::string& text) {
  const bool colour = wants_colour(2);
  const std::string rank = mpi_rank_name();
  std::string line = rank.empty() || text.starts_with("rank ") ? text : rank + ": " + text;
  while (!line.empty() && line.back() == '\n') line.pop_back();
  say(fmt::format("hadal: {}error:{} {}\n", colour ? "\033[31m" : "", colour ? "\033[0m" : "", line));
}

// Whether a write to standard output failed because its reader left, as `| head` does.
bool reader_left() {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  return std::ferror(stdout) != 0 && ::poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

// That is no failure to speak of: the program ends as other tools do, by the signal that it otherwise ignores.
int end_as_a_pipe_ends() {
  std::signal(SIGPIPE, SIG_DFL);
  std::raise(SIGPIPE);
  return kExitFailed;
}

// What was printed must have arrived: a closed pipe or full disk on standard output is a failure, not success.
int flushed(int code) {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  const int error = errno;
  if (reader_left()) return end_as_a_pipe_ends();
  print_error(
      fmt::format("cannot write standard output: {}", error != 0 ? std::strerror(error) : "an earlier write failed"));
  return code == kExitFine ? kExitFailed : code;
}

// CLI11 would only say that a verb is missing; a mistyped one deserves its own words.
std::string unknown_verb(const std::string& word) {
  std::vector<std::string> names;
  for (const Entry& verb : kVerbs) names.push_back(verb.name);
  if (word.empty() || word[0] == '-' || std::find(names.begin(), names.end(), word) != names.end()) return "";
  const std::string near = nearest_name(word, names);
  if (!near.empty()) return fmt::format("unknown verb '{}'; did you mean '{}'?", word, near);
  return fmt::format("unknown verb '{}'; choose one of {}", word, fmt::join(names, ", "));
}

}  // namespace

OwnedExec CommonOptions::exec() const {
  const Device wanted = parse_device(device);
  const int64_t most = memory.empty() ? 0 : parse_bytes("--memory", memory);
  if (wanted.kind == DeviceKind::cpu) {
    check(most == 0, ErrorKind::invalid,
          "--memory {} limits the memory of a device, and of hadal serve; with --device cpu there is none", memory);
    return OwnedExec(threads, parse_isa(isa), processes);
  }
  const kernels::DeviceBackend* backend = kernels::cuda_backend();
  check(backend != nullptr, ErrorKind::unsupported,
        "--device {}: this hadal was built without CUDA; build it with 'cmake --preset cuda' (docs/gpu.md), or use "
        "--device cpu",
        device);
  check(isa == "best", ErrorKind::invalid, "--isa {} chooses kernels of the CPU; with --device {} these are CUDA's",
        isa, device);
  return OwnedExec(threads, std::make_shared<OpenDevice>(wanted, *backend->driver), *backend->kernels, most);
}

void add_device_option(Verb verb, CommonOptions& options) {
  verb.add_option("--device", options.device, "where to compute: cpu, or cuda:0 (with a build for CUDA)");
  verb.add_option("--memory", options.memory,
                  "the most memory to take of the device, e.g. 40GiB; of hadal serve also on the CPU; default: all");
}

void add_threads_option(Verb verb, CommonOptions& options) {
  verb.add_option("--threads", options.threads, "threads to use; 0 = all granted cores").within(0, 4096);
}

void add_isa_option(Verb verb, CommonOptions& options) {
  verb.add_option("--isa", options.isa, "kernels: reference, avx2, avx512 or best")
      .one_of({"reference", "avx2", "avx512", "avx512_bf16", "avx512_amx", "best"});
}

void add_precision_option(Verb verb, std::optional<Precision>& precision) {
  std::vector<std::string> names;
  for (const char* name : EnumNames<Precision>::all)
    if (name != std::string(enum_name(Precision::automatic))) names.push_back(name);
  const auto take = [&precision](const std::string& name) { precision = parse_enum<Precision>("precision", name); };
  verb.add_word("--precision", take, "fp64, fp32, bf16, fp16, fp8 or mxfp8; default: as trained, else as stored")
      .one_of(names);
}

void add_weights_option(Verb verb, WeightFormat& weights) {
  weights = WeightFormat::stored;
  const std::vector<std::string> names(EnumNames<WeightFormat>::all.begin(), EnumNames<WeightFormat>::all.end());
  const auto take = [&weights](const std::string& name) { weights = parse_enum<WeightFormat>("weights", name); };
  verb.add_word(
          "--weights", take,
          "how products read the weights: stored (the default: FP8 blocks as they are, others as values), values, "
          "fp8, int8 (8.5 bits each) or int4 (4.5)")
      .one_of(names);
}

void add_cache_option(Verb verb, CacheFormat& cache) {
  const std::vector<std::string> names(EnumNames<CacheFormat>::all.begin(), EnumNames<CacheFormat>::all.end());
  const auto take = [&cache](const std::string& name) { cache = parse_enum<CacheFormat>("cache", name); };
  verb.add_word("--cache", take,
                "how keys are kept and read: values of the precision (the default) or fp8 (latents as codes, 0.57 of "
                "bf16's bytes for DeepSeek-V3; in the absorbed form)")
      .one_of(names);
}

void add_attention_form_option(Verb verb, std::optional<AttentionForm>& form) {
  const std::vector<std::string> names(EnumNames<AttentionForm>::all.begin(), EnumNames<AttentionForm>::all.end());
  const auto take = [&form](const std::string& name) { form = parse_enum<AttentionForm>("attention form", name); };
  verb.add_word("--attention-form", take,
                "absorbed (a small cache) or up_projected; default: as trained, absorbed where that is not recorded")
      .one_of(names);
}

void add_set_option(Verb verb, CommonOptions& options) {
  verb.add_assignments("--set", options.set, "override one configuration key, e.g. --set optim.lr=1e-4 (repeatable)");
}

void add_quiet_option(Verb verb, CommonOptions& options) {
  verb.add_flag("--quiet,-q", options.quiet, "no progress, only results and errors");
}

void print_notes(const std::vector<std::string>& notes, bool quiet) {
  if (quiet) return;
  for (const auto& note : notes) say(fmt::format("hadal: note: {}\n", note));
}

Cli::Cli()
    : root_(std::make_unique<CLI::App>(
          "Hadal: a DeepSeek-V3-architecture language model, from raw text to generated text, in one binary.",
          "hadal")) {
  root_->require_subcommand(1);
  root_->set_version_flag("--version", version_text());
  root_->footer("Each verb has its own help: hadal VERB --help\nExit codes: 0 fine, 1 the work failed, 2 wrong use.");
  for (const Entry& verb : kVerbs) verb.add(Verb(*root_), *this);
}

Cli::~Cli() = default;

void Cli::on(Verb verb, std::function<int()> action) {
  verb.on_parsed([this, action = std::move(action)] {
    if (!action_) action_ = action;  // verbs of a verb are told first
  });
}

int Cli::parse(int argc, const char* const* argv) {
  if (argc < 2) {
    fmt::print("{}", root_->help());
    return kExitWrongUse;
  }
  if (const std::string problem = unknown_verb(argv[1]); !problem.empty()) {
    print_error(problem);
    return kExitWrongUse;
  }
  try {
    root_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      root_->exit(error);
      std::cout.flush();
      return kExitFine;
    }
    print_error(fmt::format("{} (see {} --help)", parse_error_text(error, *root_, argc, argv), verb_path(*root_)));
    return kExitWrongUse;
  }
  return -1;
}

int Cli::run(int argc, const char* const* argv) {
  const int parsed = parse(argc, argv);
  if (parsed >= 0) return flushed(parsed);
  const auto failed = [](const std::string& text, int code = kExitFailed) {
    if (reader_left()) return end_as_a_pipe_ends();
    std::fflush(stdout);  // what was computed comes before what ended it
    print_error(text);
    return code;
  };
  try {
    check(bool(action_), ErrorKind::internal, "the verb '{}' has nothing to run", verb_path(*root_));
    return flushed(action_());
  } catch (const Error& error) {
    return failed(error.what(), error.kind() == ErrorKind::invalid ? kExitWrongUse : kExitFailed);
  } catch (const std::bad_alloc&) {
    return failed("out of memory");
  } catch (const std::filesystem::filesystem_error& error) {  // in our words, not in those of the library
    return failed(fmt::format("'{}': {}", error.path1().string(), error.code().message()));
  } catch (const std::exception& error) {
    return failed(error.what());
  }
}

std::string version_text() { return "hadal " HADAL_VERSION; }

std::string compiler_text() {
#if defined(__clang__)
  return fmt::format("Clang {}.{}.{}, " HADAL_BUILD_TYPE, __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  return fmt::format("GCC {}.{}.{}, " HADAL_BUILD_TYPE, __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

}  // namespace hadal

#include "checkpoint/checkpoint_writer.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/disk_full.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "comm/byte_text.h"
#include "storage/shared_tensor_files.h"
#include "tensor/late_copies.h"

namespace hadal {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct Failure {
  ErrorKind kind = ErrorKind::failed;
  bool full = false, room_may_come = false;
  std::string what;

  std::string to_bytes() const {
    ByteWriter writer;
    writer(kind), writer(full), writer(room_may_come), writer(std::vector<char>(what.begin(), what.end()));
    return writer.text;
  }
  static Failure from_bytes(const std::string& bytes) {
    ByteReader reader(bytes);
    Failure failure;
    std::vector<char> what;
    reader(failure.kind), reader(failure.full), reader(failure.room_may_come), reader(what);
    failure.what.assign(what.begin(), what.end());
    return failure;
  }
  [[noreturn]] void raise() const {
    if (full) throw DiskFull(what, room_may_come);
    throw Error(kind, what);
  }
};

std::optional<Failure> failure_of(const std::function<void()>& part) {
  try {
    part();
  } catch (const DiskFull& error) {
    return Failure{error.kind(), true, error.room_may_come(), error.what()};
  } catch (const Error& error) {
    return Failure{error.kind(), false, false, error.what()};
  } catch (const std::bad_alloc&) {
    return Failure{ErrorKind::out_of_memory, false, false, "no memory left to write a checkpoint with"};
  } catch (const std::exception& error) {  // of std::filesystem
    return Failure{ErrorKind::io, false, false, error.what()};
  }
  return std::nullopt;
}

// The files of tensors, which follow from the lists of tensors alone: the same on every rank.
struct TensorPlan {
  TensorPlan(const CheckpointContent& content, uint64_t shard_bytes)
      : model(kModelStem, content.model.tensors, shard_bytes, {{"format", "pt"}}),
        optimizer(kOptimizerStem, content.optimizer.tensors, shard_bytes) {}
  std::vector<std::string> names() const {
    std::vector<std::string> names = model.names();
    names.insert(names.end(), optimizer.names().begin(), optimizer.names().end());
    return names;
  }
  SharedTensorFiles model, optimizer;
};

// All files but the manifest, the texts complete, the tensors' of zeros.
void create(const fs::path& partial, const TensorPlan& plan, const CheckpointContent& content) {
  std::error_code ignored;
  fs::remove_all(partial, ignored);
  make_directories(partial);
  plan.model.create(partial);
  plan.optimizer.create(partial);
  for (const auto& [name, text] : content.texts) {
    make_directories((partial / name).parent_path());
    atomic_write(partial / name, text);
  }
}

void write_own(const fs::path& partial, const TensorPlan& plan, const CheckpointContent& content) {
  plan.model.write(partial, content.model.parts);
  plan.optimizer.write(partial, content.optimizer.parts);
}

json manifest_entry(const fs::path& path) {
  const MappedFile file(path);
  return {{"bytes", file.size()}, {"xxh3", xxh3_128_hex(file.text())}};
}

// Of the tensors' files, every n-th of them: reads again what all have written, from memory where it was written on
// this machine.
json own_entries(const fs::path& partial, const TensorPlan& plan, const Group& group) {
  const std::vector<std::string> names = plan.names();
  json entries = json::object();
  for (size_t i = size_t(group.rank()); i < names.size(); i += size_t(group.size()))
    entries[names[i]] = manifest_entry(partial / names[i]);
  return entries;
}

// With what all have found of the tensors' files.
void publish(const fs::path& partial, const fs::path& target, const TensorPlan& plan, const CheckpointContent& content,
             const std::vector<std::string>& found) {
  json files = json::object();
  for (const std::string& entries : found) files.update(parse_json(entries, "entries of the manifest"));
  for (const SharedTensorFiles* of : {&plan.model, &plan.optimizer})
    if (!of->index_name().empty()) files[of->index_name()] = manifest_entry(partial / of->index_name());
  for (const auto& [name, text] : content.texts) files[name] = manifest_entry(partial / name);
  const json manifest = {{"format", kCheckpointFormat}, {"step", content.step}, {"files", files}};
  atomic_write(partial / "manifest.json", json_text(manifest, {.indent = 1}));
  const fs::path aside = target.string() + ".old.partial";  // swept with the other leftovers
  std::error_code ignored;
  fs::remove_all(aside, ignored);
  if (fs::exists(target)) fs::rename(target, aside);
  fs::rename(partial, target);
  sync_directory(target.parent_path());
  fs::remove_all(aside, ignored);
}

}  // namespace

CheckpointWriter::CheckpointWriter(fs::path checkpoints, std::shared_ptr<Transport> transport,
                                   CheckpointWriterOptions options)
    : checkpoints_(std::move(checkpoints)),
      group_(std::move(transport), "checkpoint writers"),
      options_(std::move(options)) {}

// An error of the last write is lost here: only a caller that is already failing leaves without finish().
CheckpointWriter::~CheckpointWriter() {
  leaving_ = true;
  if (thread_.joinable()) thread_.join();
}

void CheckpointWriter::finish() {
  if (thread_.joinable()) thread_.join();
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

// Does this rank's part and returns when all ranks have done theirs; throws on every one what the first of them met.
void CheckpointWriter::together(const std::function<void()>& part) {
  const std::optional<Failure> own = failure_of(part);
  std::vector<std::string> all;
  try {
    all = group_.exchange(own ? own->to_bytes() : "");
  } catch (const Error&) {  // another rank is gone: what this one met is nearer to the cause
    if (own) own->raise();
    throw;
  }
  for (size_t r = 0; r < all.size(); ++r) {
    if (all[r].empty()) continue;
    Failure failure = Failure::from_bytes(all[r]);
    if (int(r) != group_.rank()) failure.what = fmt::format("rank {} could not save: {}", r, failure.what);
    failure.raise();
  }
}

void CheckpointWriter::write_once(const CheckpointContent& content) {
  const fs::path target = checkpoint_path(checkpoints_, content.step), partial = target.string() + ".partial";
  std::optional<TensorPlan> plan;
  json entries;
  try {
    together([&] {
      plan.emplace(content, options_.shard_bytes);
      if (group_.leads()) create(partial, *plan, content);
    });
    together([&] { write_own(partial, *plan, content); });
    together([&] { entries = own_entries(partial, *plan, group_); });
    const std::vector<std::string> found = group_.exchange(json_text(entries));
    together([&] {
      if (group_.leads()) publish(partial, target, *plan, content, found);
    });
  } catch (...) {
    std::error_code ignored;
    if (group_.leads()) fs::remove_all(partial, ignored);
    throw;
  }
}

// False, on every rank: one was asked to stop.
bool CheckpointWriter::wait_a_while() {
  const auto stopped = [this] { return leaving_ || (options_.stop && options_.stop()); };
  for (int i = 0; i < 20 && !stopped(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  for (const std::string& one : group_.exchange(stopped() ? "stop" : ""))
    if (!one.empty()) return false;
  return true;
}

// Nothing is lost by waiting: the content is a copy, and old checkpoints stand until the new one does.
void CheckpointWriter::write(const CheckpointContent& content) {
  const std::string name = checkpoint_path("", content.step).string();
  const auto say = [this](const std::string& text) {
    if (options_.say) options_.say(text);
  };
  for (bool waiting = false;;) {
    try {
      write_once(content);
      if (waiting) say(fmt::format("there was room: checkpoint {} is written", name));
      break;
    } catch (const DiskFull& error) {
      if (!options_.wait_for_room && !error.room_may_come()) throw;
      if (!options_.wait_for_room)
        throw DiskFull(fmt::format("{}; with checkpoint.on_full = \"wait\" training waits for room", error.what()));
      if (!waiting)
        say(fmt::format("checkpoint {}: {}; waiting for room (checkpoint.on_full), an interrupt ends the waiting", name,
                        error.what()));
      waiting = true;
      if (!wait_a_while()) throw;
    }
  }
  if (group_.leads()) remove_old_checkpoints(checkpoints_, options_.keep);
}

void CheckpointWriter::await_copies() {
  if (copied_.valid()) copied_.wait();
}

void CheckpointWriter::save(const Exec& exec, CheckpointContent content) {
  finish();
  if (!options_.asynchronous) return write(content);
  std::vector<Tensor> own;
  for (TensorFile* file : {&content.model, &content.optimizer})
    for (TensorPart& part : file->parts)
      own.push_back(part.elements.on_host() ? part.elements.clone(exec) : part.elements);
  LateCopies late = late_host_copies(own);
  auto next = late.copies.begin();
  for (TensorFile* file : {&content.model, &content.optimizer})
    for (TensorPart& part : file->parts) part.elements = *next++;
  std::promise<void> copied;
  copied_ = copied.get_future();
  thread_ = std::thread(
      [this, content = std::move(content), arrive = std::move(late.arrive), copied = std::move(copied)]() mutable {
        try {
          try {
            arrive();
          } catch (...) {
            copied.set_value();
            throw;
          }
          copied.set_value();
          write(content);
        } catch (...) {
          error_ = std::current_exception();
        }
      });
}

}  // namespace hadal

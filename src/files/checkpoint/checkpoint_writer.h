// CheckpointWriter: how the ranks of a run write a checkpoint together (what it holds: checkpoint.h). The first makes
// the directory and every file of its whole size, each writes what it owns into place, and when all have synced they
// share the hashing, and the first publishes: manifest, rename. What one rank meets is an error on all.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "base/exec.h"
#include "checkpoint/tensor_file.h"
#include "comm/group.h"
#include "storage/shards.h"

namespace hadal {

struct CheckpointContent {
  int64_t step = 0;
  TensorFile model;                          // under Hugging Face names; parts are views of the run's tensors
  TensorFile optimizer;                      // without tensors there is none
  std::map<std::string, std::string> texts;  // of the first rank: model.json, state.json, tokenizer files ...
};

struct CheckpointWriterOptions {
  int64_t keep = 1;
  bool asynchronous = true;
  uint64_t shard_bytes = kShardBytes;           // most bytes of tensors in one file
  bool wait_for_room = false;                   // where the disk is full, until there is room or stop() says so
  std::function<bool()> stop;                   // asked while waiting, on every rank; may be empty
  std::function<void(const std::string&)> say;  // told when waiting begins and ends, from the writing thread; or empty
};

// Writes in the background from copies on the host; one at a time. Copies of the host's tensors are taken in save();
// what lies on a device comes while it goes on, and stands still only when the state is about to change
// (await_copies()). An error of a writer is thrown on every rank by the next save() or by finish(). The copies cost as
// much of the host's memory as the state itself while a checkpoint is written.
class CheckpointWriter {
 public:
  // One on every rank of the transport. They save and finish together; what their threads say to each other travels in
  // a group of its own beside what the ranks say meanwhile.
  CheckpointWriter(std::filesystem::path checkpoints, std::shared_ptr<Transport> transport,
                   CheckpointWriterOptions options);
  ~CheckpointWriter();
  void save(const Exec& exec, CheckpointContent content);  // exec: where the copies lie
  void await_copies();                                     // before the tensors that were saved are written to, or go
  void finish();                                           // waits; throws what the writers threw

 private:
  void write(const CheckpointContent& content);
  void write_once(const CheckpointContent& content);
  void together(const std::function<void()>& part);
  bool wait_a_while();

  std::filesystem::path checkpoints_;
  Group group_;  // of thread_ while there is one
  CheckpointWriterOptions options_;
  std::thread thread_;
  std::future<void> copied_;           // by thread_: nothing is read from the run's tensors any more
  std::atomic<bool> leaving_ = false;  // nobody waits for room any more
  std::exception_ptr error_;           // written by thread_, read after it was joined
};

}  // namespace hadal

// Equal state has equal bytes in every layout, each rank writing what it owns; and what one rank meets while it writes
// is an error on all, with the checkpoint before untouched.
#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>

#include "base/expect_error.h"
#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "comm/rank_threads.h"
#include "config/config_io.h"
#include "nn/init.h"
#include "train/run_checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

ModelConfig small_model() {
  ModelConfig m;
  m.vocab_size = 23, m.hidden_size = 200, m.n_layers = 4, m.n_heads = 3, m.q_lora_rank = 8, m.kv_lora_rank = 8;
  m.qk_nope_head_dim = m.qk_rope_head_dim = m.v_head_dim = 4, m.n_dense_layers = 1, m.dense_ffn_size = 17;
  m.n_routed_experts = 4, m.n_experts_per_token = 2, m.expert_ffn_size = 8, m.n_mtp = 1;
  return m;
}

// What a rank of a layout holds of a model and its optimizer: another number for every element, or what a checkpoint
// says.
struct Held {
  Held(const Exec& exec, const ParallelConfig& parallel, std::shared_ptr<Transport> transport, DType compute,
       const fs::path& checkpoint = {})
      : placement(small_model(), parallel) {
    for (const ParameterSpec& spec : placement.specs()) {
      const auto holding = placement.holding_of(spec, transport->rank());
      if (!holding) continue;
      all.push_back(make_parameter(exec, spec, compute, true, holding->box));
      initialize_parameter(exec, *all.back(), 3);
      pointers.push_back(all.back().get());
    }
    if (!checkpoint.empty()) load_model_tensors(TensorFiles::open(checkpoint), placement.specs(), pointers);
    if (transport->size() > 1) sharding = std::make_unique<Sharding>(exec, placement, pointers, transport);
    OptimConfig config;
    config.ema_decay = 0.5;
    if (compute == DType::bf16) config.moments = MomentFormat::bf16;
    optimizer = sharding ? std::make_unique<Optimizer>(*sharding, config, exec)
                         : std::make_unique<Optimizer>(pointers, config, exec);
    if (checkpoint.empty()) {
      fill();
    } else {
      load_moments(exec, checkpoint, *optimizer);
    }
  }
  void fill() const {
    int64_t number = 0;
    for (const StateTensor& entry : optimizer->state())
      for (int64_t i = 0; i < entry.tensor.count(); ++i) set_element(entry.tensor, i, double(++number % 251) / 8);
    for (Parameter* parameter : pointers)
      for (int64_t i = 0; !parameter->spec.trained && i < parameter->master.count(); ++i)
        set_element(parameter->master, i, double(++number % 251) / 8);
  }
  CheckpointContent content(int64_t step) const {
    CheckpointContent content = checkpoint_content(placement.specs(), pointers, *optimizer);
    content.step = step;
    content.texts = {{"state.json", "{}"}};
    return content;
  }
  Placement placement;
  std::vector<std::unique_ptr<Parameter>> all;
  Parameters pointers;
  std::unique_ptr<Sharding> sharding;
  std::unique_ptr<Optimizer> optimizer;
};

std::map<std::string, std::string> files_of(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file()) files[fs::relative(entry.path(), directory).string()] = read_file(entry.path());
  return files;
}

class CheckpointLayouts : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("hadal checkpoint layouts " + std::to_string(getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  // Written by one rank, under root_/one.
  fs::path written_by_one(DType compute, uint64_t shard_bytes = kShardBytes) const {
    const auto alone = std::make_shared<SelfTransport>();
    const OwnedExec owned(1);
    const Held held(owned.exec, {}, alone, compute);
    CheckpointWriter(root_ / "one", alone, {.asynchronous = false, .shard_bytes = shard_bytes})
        .save(owned.exec, held.content(3));
    return root_ / "one" / "step_00000003";
  }
  struct Rank {
    CheckpointWriter& writer;
    const Exec& exec;
    const Held& held;
    Group& ranks;
    void save(int64_t step) const {
      writer.save(exec, held.content(step));
      writer.finish();
    }
    void first_alone(const std::function<void()>& work) const {
      ranks.barrier();
      if (ranks.leads()) work();
      ranks.barrier();
    }
  };
  // Three data ranks, of which rank 1 finds the checkpoints at other() and is asked whether to stop.
  void three_ranks(const CheckpointWriterOptions& options, const std::function<void(const Rank&)>& body) const {
    run_rank_threads(3, [&](std::shared_ptr<Transport> transport) {
      const OwnedExec owned(1);
      const Held held(owned.exec, {.dp = 3}, transport, DType::f32);
      CheckpointWriterOptions own = options;
      const int rank = transport->rank();
      if (rank != 0) own.say = nullptr;
      if (rank != 1) own.stop = nullptr;
      CheckpointWriter writer(rank == 1 ? other() : here(), transport, own);
      Group ranks(transport, "test");
      body({writer, owned.exec, held, ranks});
    });
  }
  // Where no byte finds room.
  void fill_other(int64_t step) const {
    fs::remove_all(other());
    const fs::path partial = checkpoint_path(other(), step).string() + ".partial";
    fs::create_directories(partial);
    for (const char* stem : {kModelStem, kOptimizerStem})
      fs::create_symlink("/dev/full", partial / tensor_file_name(stem, 0, 1));
  }
  void make_other_the_same() const {
    fs::create_directories(here());
    fs::remove_all(other());
    fs::create_directory_symlink(here(), other());
  }
  void expect_whole(size_t n) const {
    const auto found = list_checkpoints(here());
    EXPECT_EQ(found.size(), n);
    for (const fs::path& checkpoint : found) verify_checkpoint(checkpoint);
    for (const auto& entry : fs::directory_iterator(here())) EXPECT_NE(entry.path().extension(), ".partial");
  }
  fs::path here() const { return root_ / "here"; }
  fs::path other() const { return root_ / "other"; }

  fs::path root_;
};

TEST_F(CheckpointLayouts, EqualStateHasEqualBytesWhoeverWroteIt) {
  for (const DType compute : {DType::f32, DType::bf16, DType::f64}) {
    const fs::path one = written_by_one(compute);
    const auto wanted = files_of(one);
    ASSERT_EQ(wanted.size(), 4u);
    int64_t n_elements = 0;
    for (const char* stem : {kModelStem, kOptimizerStem}) {
      const TensorFiles files = TensorFiles::open(one, stem);
      for (const std::string& name : files.names()) n_elements += shape_count(files.entry(name).shape);
    }
    bool asynchronous = false;
    for (const char* layout :
         {"dp=3", "pp=2", "dp=4,ep=2", "tp=2", "tp=3,pp=2", "cp=2,tp=2,ep=4", "dp=2,ep=2,pp=2,schedule=dualpipe",
          "tp=2,ep=2,pp=2,schedule=dualpipe", "dp=2,pp=2,schedule=dualpipev", "pp=2,schedule=interleaved,chunks=2"}) {
      SCOPED_TRACE(fmt::format("{} {}", layout, dtype_name(compute)));
      const ParallelConfig parallel = parse_layout(layout);
      std::atomic<int64_t> n_written = 0;
      run_rank_threads(int(parallel.ranks()), [&](std::shared_ptr<Transport> transport) {
        const OwnedExec owned(1);
        const Held held(owned.exec, parallel, transport, compute, one);
        CheckpointWriter writer(root_ / layout, transport, {.asynchronous = asynchronous});
        const CheckpointContent content = held.content(3);
        for (const TensorFile* file : {&content.model, &content.optimizer})
          for (const TensorPart& part : file->parts) n_written += part.elements.count();
        writer.save(owned.exec, content);
        writer.finish();
      });
      EXPECT_EQ(n_written, n_elements) << "each of them is written once";
      EXPECT_EQ(files_of(root_ / layout / "step_00000003"), wanted);
      fs::remove_all(root_ / layout);
      asynchronous = !asynchronous;
    }
  }
}

// In one file or in shards, from one layout to the next and back.
TEST_F(CheckpointLayouts, ShardsHaveEqualBytesInEveryLayout) {
  const auto single = files_of(written_by_one(DType::f32));
  fs::path from = written_by_one(DType::f32, 330'000);
  const auto wanted = files_of(from);
  size_t n_model = 0, n_optimizer = 0;
  for (const auto& [name, bytes] : wanted) {
    n_model += is_tensor_file(name, kModelStem), n_optimizer += is_tensor_file(name, kOptimizerStem);
    EXPECT_LT(bytes.size(), 340'000u) << name;
  }
  EXPECT_GT(n_model, 3u);
  EXPECT_GT(n_optimizer, 6u);
  const auto save_at = [&](const std::string& layout, uint64_t shard_bytes) {
    const ParallelConfig parallel = parse_layout(layout);
    const fs::path to = root_ / (layout + std::to_string(shard_bytes));
    run_rank_threads(int(parallel.ranks()), [&](std::shared_ptr<Transport> transport) {
      const OwnedExec owned(1);
      const Held held(owned.exec, parallel, transport, DType::f32, from);
      CheckpointWriter writer(to, transport, {.shard_bytes = shard_bytes});
      writer.save(owned.exec, held.content(3));
      writer.finish();
    });
    from = to / "step_00000003";
    verify_checkpoint(from);
  };
  for (const char* layout : {"dp=3", "tp=2,pp=2", "dp=4,ep=2", "cp=2,tp=2,ep=4", "dp=2,pp=2,schedule=dualpipe"}) {
    SCOPED_TRACE(layout);
    save_at(layout, 330'000);
    EXPECT_EQ(files_of(from), wanted);
    save_at(layout, kShardBytes);
    EXPECT_EQ(files_of(from), single);
  }
}

TEST_F(CheckpointLayouts, WhatOneRankMeetsIsAnErrorOnAllAndTheCheckpointBeforeStands) {
  for (const bool asynchronous : {false, true}) {
    make_other_the_same();
    three_ranks({.keep = 5, .asynchronous = asynchronous}, [&](const Rank& rank) {
      rank.save(1);
      rank.first_alone([&] { fs::remove(other()); });
      const bool own = rank.ranks.rank() == 1;
      EXPECT_ERROR(rank.save(2), ErrorKind::not_found, own ? "cannot write" : "rank 1 could not save: cannot write",
                   "other/step_00000002.partial");
      rank.first_alone([&] {
        expect_whole(1);
        make_other_the_same();
      });
      rank.save(3);  // the error is told once
      rank.first_alone([&] { expect_whole(2); });
    });
    fs::remove_all(here());
  }
}

TEST_F(CheckpointLayouts, AFullDiskOfOneRankEndsAllOrIsWaitedForByAll) {
  fill_other(1);
  three_ranks({}, [&](const Rank& rank) {
    EXPECT_ERROR(rank.save(1), ErrorKind::io, "the disk is full", "checkpoint.on_full");
    rank.first_alone([&] { expect_whole(0); });
  });
  std::vector<std::string> said;
  CheckpointWriterOptions waiting{.wait_for_room = true};
  waiting.say = [&](const std::string& text) {
    said.push_back(text);
    if (said.size() == 1) make_other_the_same();
  };
  three_ranks(waiting, [&](const Rank& rank) { rank.save(1); });
  expect_whole(1);
  ASSERT_EQ(said.size(), 2u);
  EXPECT_NE(said[0].find("rank 1 could not save: cannot write"), std::string::npos) << said[0];
  EXPECT_NE(said[0].find("waiting for room"), std::string::npos) << said[0];
  fill_other(2);
  three_ranks({.wait_for_room = true, .stop = [] { return true; }},
              [&](const Rank& rank) { EXPECT_ERROR(rank.save(2), ErrorKind::io, "the disk is full"); });
  expect_whole(1);
}

// A rank that fails elsewhere while its writer works, or before it was told to: nobody waits for ever.
TEST_F(CheckpointLayouts, ARankThatFailsBesideItsWriterEndsAll) {
  make_other_the_same();
  for (const bool saves : {true, false}) {
    EXPECT_ERROR(three_ranks({},
                             [&](const Rank& rank) {
                               const bool fails = rank.ranks.rank() == 2;
                               if (saves || !fails) rank.writer.save(rank.exec, rank.held.content(1));
                               if (fails) fail(ErrorKind::corrupt, "shard 7 is damaged");
                               rank.writer.finish();
                               rank.ranks.barrier();
                             }),
                 ErrorKind::corrupt, "rank 2: shard 7 is damaged");
    expect_whole(saves ? 1 : 0);
    fs::remove_all(here());
    fs::create_directories(here());
  }
}

}  // namespace
}  // namespace hadal

// What a rank says that it is at while it waits for its neighbours in a pipeline.
#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "comm/transport_over.h"
#include "config/config_io.h"
#include "train/layout_check.h"
#include "train/small_step.h"

namespace hadal {
namespace {

struct Heard {
  std::mutex mutex;
  std::set<std::string> forward, backward;  // what was said while these were awaited
};

class ListeningTransport : public TransportOver {
 public:
  ListeningTransport(std::shared_ptr<Transport> inner, Heard& heard) : TransportOver(std::move(inner)), heard_(heard) {}
  Message receive(int from, const Label& wanted) override {
    listen(wanted.operation);
    return TransportOver::receive(from, wanted);
  }

 private:
  void listen(const std::string& operation) {
    const std::lock_guard lock(heard_.mutex);
    if (operation.find("pipeline activations") != std::string::npos) heard_.forward.insert(doing().text());
    if (operation.find("pipeline gradients") != std::string::npos) heard_.backward.insert(doing().text());
  }

  Heard& heard_;
};

TEST(Doing, TellsActionMicroBatchAndStage) {
  LayoutCase c;
  c.config = testing::small_config(Precision::fp64);
  c.config.train.micro_batch_sequences = 1;
  c.config.parallel = parse_layout("pp=2,schedule=zb1p");
  c.lengths = {9, 4, 12};
  Heard heard;
  c.wrap = [&](std::shared_ptr<Transport> inner) {
    return std::make_shared<ListeningTransport>(std::move(inner), heard);
  };
  OwnedExec owned(2);
  EXPECT_TRUE(check_layout(c, owned.exec).agree());
  using Texts = std::set<std::string>;
  EXPECT_EQ(heard.forward,
            (Texts{"F of micro-batch 0 at stage 1", "F of micro-batch 1 at stage 1", "F of micro-batch 2 at stage 1"}));
  EXPECT_EQ(heard.backward, (Texts{"Bi of micro-batch 0 at stage 0", "Bi of micro-batch 1 at stage 0",
                                   "Bi of micro-batch 2 at stage 0"}));
}

}  // namespace
}  // namespace hadal

// What a run in a layout says at its start of the micro-batches of no rows that fill its schedule: as many as the ranks
// then get.
#include <gtest/gtest.h>

#include <atomic>

#include "base/testing.h"
#include "comm/rank_threads.h"
#include "train/micro_batches.h"
#include "train/rank_place.h"
#include "train/spread_case.h"

namespace hadal {
namespace {

using namespace hadal::testing;

struct Filled {
  const char* layout;
  int64_t micro_batches, fillers, next;
};

TEST(RankPlace, SaysAtTheStartHowManyMicroBatchesOfNoRowsFillTheSchedule) {
  for (const Filled& one :
       {Filled{"dp=2,pp=2,schedule=dualpipe", 3, 5, 8}, Filled{"pp=2,schedule=dualpipe", 5, 1, 6},
        Filled{"pp=2,schedule=dualpipe", 6, 0, 6}, Filled{"pp=2,schedule=interleaved,chunks=2", 3, 1, 4},
        Filled{"dp=3", 4, 2, 6}, Filled{"dp=3", 6, 0, 6}, Filled{"pp=2", 1, 0, 1}, Filled{"dp=2,tp=2", 3, 1, 4},
        Filled{"dp=1", 3, 0, 3}}) {
    SCOPED_TRACE(fmt::format("{} micro-batches of {}", one.micro_batches, one.layout));
    Config config = spread_case(one.layout, Precision::fp32).config;
    config.model.n_layers = 4;
    config.train.micro_batch_sequences = 2;
    config.train.batch_sequences = 2 * one.micro_batches - 1;  // the last of one sequence
    std::vector<MicroBatch> global =
        micro_batches(batch_of(std::vector<int64_t>(size_t(config.train.batch_sequences), 4)), 2);
    ASSERT_EQ(int64_t(global.size()), one.micro_batches);
    std::string said;
    std::atomic<int64_t> fillers = 0;
    run_rank_threads(int(config.parallel.ranks()), [&](std::shared_ptr<Transport> transport) {
      const RankPlace place(config.model, config.parallel, transport);
      const Seat seat = place.placement().mesh().seat(place.rank());
      if (seat.pipeline == 0 && seat.tensor == 0)  // one of those that are given the same
        for (const int64_t number : place.training_work(global).numbers) fillers += number < 0;
      if (transport->rank() != 0) return;
      for (const std::string& note : place.notes(config, 1))
        if (has(note, "of no rows")) said += note;
    });
    EXPECT_EQ(fillers, one.fillers);
    EXPECT_EQ(said, one.fillers == 0
                        ? ""
                        : fmt::format("a step of {} micro-batches is filled up with {} of no rows, which cost no more "
                                      "than their messages: {} data ranks and the schedule take {} next",
                                      one.micro_batches, one.fillers, config.parallel.dp, one.next));
  }
}

}  // namespace
}  // namespace hadal

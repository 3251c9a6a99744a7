// Work beside the workers: in order, one at a time, and no more waiting than agreed.
#include "server/side_thread.h"

#include <gtest/gtest.h>

#include <future>

namespace hadal {
namespace {

TEST(SideThread, WorksInOrderAndTakesNoMoreThanMayWait) {
  std::promise<void> begun, let_go;
  std::vector<int> done;
  std::promise<void> all;
  SideThread side(2);
  ASSERT_TRUE(side.take([&] {
    begun.set_value();
    let_go.get_future().wait();
    done.push_back(1);
  }));
  begun.get_future().wait();
  EXPECT_TRUE(side.take([&] { done.push_back(2); }));
  EXPECT_TRUE(side.take([&] {
    done.push_back(3);
    all.set_value();
  }));
  EXPECT_FALSE(side.take([] {}));
  let_go.set_value();
  all.get_future().wait();
  EXPECT_EQ(done, (std::vector<int>{1, 2, 3}));
}

TEST(SideThread, EndsWithWorkWaiting) {
  std::promise<void> begun;
  bool late = false;
  {
    SideThread side(2);
    side.take([&] {
      begun.set_value();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    });
    begun.get_future().wait();
    side.take([&] { late = true; });
  }
  EXPECT_FALSE(late);
}

}  // namespace
}  // namespace hadal

// Tensors in the memory of a device: how they come there and back, what the host may not do with them, and the pool
// that they come from.
#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "base/expect_error.h"
#include "cuda_staged/device_rig.h"
#include "tensor/late_copies.h"
#if defined(HADAL_CUDA_EMULATED)
#include "cuda_emulator/machine.h"
#endif

namespace hadal {
namespace {

class CudaTensor : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!staged::device_is_there()) GTEST_SKIP() << "no device";
    rig = std::make_unique<staged::DeviceRig>(11);
  }
  const Exec& exec() const { return rig->exec; }
  Tensor counting(const Exec& at, Shape shape, DType dtype = DType::f32) const {
    std::vector<float> values(size_t(shape_count(shape)));
    std::iota(values.begin(), values.end(), 0.0f);
    return Tensor::from(at, values, shape).to(at, dtype);
  }
  static std::vector<double> read(const Tensor& tensor) {
    const Tensor host = host_copy(tensor);
    std::vector<double> values;
    for (int64_t i = 0; i < host.count(); ++i) values.push_back(element(host, i));
    return values;
  }

  std::unique_ptr<staged::DeviceRig> rig;
  OwnedExec host{1, Isa::reference};
};

TEST_F(CudaTensor, KnowWhereTheyLieAndSoDoTheirViews) {
  const Tensor t = counting(exec(), {4, 6});
  EXPECT_FALSE(t.on_host());
  EXPECT_EQ(t.device(), rig->device.get());
  for (const Tensor& view : {t.row_range(1, 2), t.col_range(2, 3), t.view({24}), t.slice(2)})
    EXPECT_EQ(view.device(), rig->device.get());
  EXPECT_TRUE(counting(host.exec, {4, 6}).on_host());
  EXPECT_TRUE(host_copy(t).on_host());
}

TEST_F(CudaTensor, AreNotReadByTheHost) {
  const Tensor t = counting(exec(), {4, 6});
  EXPECT_ERROR(t.data<float>(), ErrorKind::internal, "a tensor F32 [4, 6] in the memory of cuda:0 is read by the host");
  EXPECT_NE(t.address<float>(), nullptr);
  EXPECT_ERROR(t.address<double>(), ErrorKind::internal, "a tensor of F32 is read as F64");
}

TEST_F(CudaTensor, SingleElementsAreCopied) {
  const Tensor t = counting(exec(), {4, 6}, DType::bf16);
  EXPECT_EQ(element(t.col_range(2, 3), 4), 9);
  set_element(t.col_range(2, 3), 4, -1.5);
  EXPECT_EQ(element(t, 9), -1.5);
  EXPECT_EQ(element(t, 8), 8);
}

TEST_F(CudaTensor, ComeHomeWithOneWaitForAllOfThem) {
  const Tensor a = counting(exec(), {3, 5}), b = counting(exec(), {7}, DType::bf16), c = counting(host.exec, {2, 2}),
               strided = a.col_range(1, 3);
  const int64_t before = rig->device->waits();
  const auto home = host_copies({a, Tensor(), b, c, strided});
  EXPECT_EQ(rig->device->waits(), before + 1);
  EXPECT_EQ(read(home[0]), read(a));
  EXPECT_FALSE(home[1]);
  EXPECT_EQ(home[2].dtype(), DType::bf16);
  EXPECT_EQ(read(home[2]), (std::vector<double>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(home[3].raw(), c.raw());  // the host's own are not copied
  EXPECT_TRUE(home[4].contiguous());
  EXPECT_EQ(read(home[4]), (std::vector<double>{1, 2, 3, 6, 7, 8, 11, 12, 13}));
}

// Nothing else makes the host stand still: all copies are of pinned memory.
TEST_F(CudaTensor, CountEveryWaitOfTheHost) {
  if (!staged::synchronisations()) GTEST_SKIP() << "nobody counts on this device";
  const Tensor large = counting(exec(), {3 << 20}), small = counting(exec(), {7});  // 12 MiB
  large.to(exec(), DType::bf16);
  rig->device->wait();
  const int64_t waits = rig->device->waits(), stops = *staged::synchronisations();
  Tensor::from(exec(), std::vector<float>(100, 1), {100});
  host_copies({small, large, small});
  element(small, 3);
  EXPECT_EQ(rig->device->waits() - waits, 1 + 1);  // a second half needs none of its own
  host_copy(large.view({3, 1 << 20}).col_range(0, (1 << 20) - 1));
  EXPECT_EQ(*staged::synchronisations() - stops, rig->device->waits() - waits);
}

// Several times the pinned memory, in both directions, and parts that begin anywhere.
TEST_F(CudaTensor, ComeHomeThroughPinnedMemoryHoweverLargeTheyAre) {
  for (uint64_t seed = 0; seed < 2; ++seed) {
    staged::begin_schedule(seed);
    const Tensor first = counting(exec(), {5}), large = counting(exec(), {5 << 20});  // 20 MiB
    const auto home = host_copies({first, large, first});
    int64_t wrong = 0;
    for (int64_t i = 0; i < large.count(); ++i) wrong += home[1].data<float>()[i] != float(i);
    EXPECT_EQ(wrong, 0) << "schedule " << seed;
    EXPECT_EQ(read(home[0]), read(home[2]));
  }
}

// Copies that go out beside the stream hold what was there when they were begun: kernels queued before have run, what
// is queued behind, elsewhere, runs whenever it likes.
TEST_F(CudaTensor, LeaveWhileTheStreamGoesOn) {
  const Tensor filler = counting(exec(), {1000}), t = Tensor::zeros(exec(), DType::f32, {1000}),
               of_host = counting(host.exec, {3});
  for (uint64_t seed = 0; seed < 20; ++seed) {
    staged::begin_schedule(seed);
    t.zero(exec());
    rig->device->wait();
    t.copy_from(exec(), filler);
    const LateCopies late = late_host_copies({t, of_host, t.view({10, 100}).col_range(5, 2)});
    EXPECT_EQ(late.copies[1].raw(), of_host.raw());
    const Tensor other = filler.clone(exec());
    std::thread(late.arrive).join();
    EXPECT_EQ(read(late.copies[0]), read(filler)) << "schedule " << seed;
    EXPECT_EQ(element(late.copies[2], 3), 106) << "schedule " << seed;
  }
}

// All pairs of places, dense and strided, within a format and across; what lies around a view stays.
TEST_F(CudaTensor, AreCopiedBetweenAllPlacesThroughStridesAndFormats) {
  const Exec* places[] = {&host.exec, &exec()};
  for (const Exec* from : places)
    for (const Exec* to : places)
      for (const DType source : {DType::f32, DType::bf16})
        for (const DType target : {DType::f32, DType::bf16})
          for (const bool strided : {false, true}) {
            const Tensor x = counting(*from, {3, 8}, source), y = Tensor::zeros(*to, target, {3, 8});
            const auto part = [&](const Tensor& t) { return strided ? t.col_range(2, 5) : t; };
            part(y).copy_from(exec(), part(x));
            std::vector<double> want(24);
            for (int64_t i = 0; i < 24; ++i) want[size_t(i)] = !strided || (i % 8 >= 2 && i % 8 < 7) ? double(i) : 0;
            EXPECT_EQ(read(y), want) << dtype_name(source) << " to " << dtype_name(target);
            if (source == target && !strided) {
              y.zero();
              y.copy_from(x);  // in the caller
              EXPECT_EQ(read(y), want);
            }
          }
  const Tensor odd = counting(exec(), {3, 8});
  EXPECT_ERROR(odd.copy_from(counting(host.exec, {3, 7})), ErrorKind::internal, "cannot copy [3, 7] into [3, 8]");
  EXPECT_ERROR(odd.col_range(0, 2).copy_from(odd.col_range(2, 2)), ErrorKind::internal, "without an Exec");
}

TEST_F(CudaTensor, AreZeroedThroughStrides) {
  for (const bool with_exec : {false, true}) {
    const Tensor t = counting(exec(), {3, 4}), part = t.col_range(1, 2);
    with_exec ? part.zero(exec()) : part.zero();
    EXPECT_EQ(read(t), (std::vector<double>{0, 0, 0, 3, 4, 0, 0, 7, 8, 0, 0, 11}));
  }
}

// Uploads are queued: what they came from may change at once, however much there is.
TEST_F(CudaTensor, KeepWhatWasUploadedWhenItsSourceChanges) {
  std::vector<int64_t> values(size_t(5) << 20);  // 40 MiB
  for (uint64_t seed = 0; seed < 8; ++seed) {
    staged::begin_schedule(seed);
    std::iota(values.begin(), values.end(), int64_t(seed));
    const int64_t before = rig->device->waits();
    const Tensor t = Tensor::from(exec(), values, {int64_t(values.size())});
    std::fill(values.begin(), values.end(), -1);
    // The pinned memory has two halves: the third stretch and each behind it wait for one of them.
    EXPECT_EQ(rig->device->waits() - before, 40 / (OpenDevice::kHalf >> 20) - 2);
    const Tensor home = host_copy(t);
    int64_t wrong = 0;
    for (int64_t i = 0; i < home.count(); ++i) wrong += home.data<int64_t>()[i] != i + int64_t(seed);
    EXPECT_EQ(wrong, 0) << "schedule " << seed;
  }
}

// Memory that goes back while work with it is queued is used again behind that work.
TEST_F(CudaTensor, ReuseMemoryInTheOrderOfTheStream) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    staged::begin_schedule(seed);
    const Tensor sum = Tensor::zeros(exec(), DType::f32, {1000});
    const void* first = nullptr;
    for (int i = 0; i < 4; ++i) {
      const Tensor t = Tensor::from(exec(), std::vector<float>(1000, float(i)), {1000});
      if (i == 0) first = t.raw();
      EXPECT_EQ(t.raw(), first);
      const Tensor copy = t.clone(exec());
      if (i == 2) sum.copy_from(exec(), copy);
    }
    EXPECT_EQ(read(sum), std::vector<double>(1000, 2.0));
  }
}

TEST_F(CudaTensor, TakeNoMoreThanTheyMayAndSaySo) {
  const staged::DeviceRig small(1, 1 << 20);
  const Tensor most = Tensor::empty(small.exec, DType::f32, {200000});
  EXPECT_ERROR(Tensor::empty(small.exec, DType::f32, {200000}), ErrorKind::out_of_memory,
               "out of memory: 781 KiB asked for, 781 KiB in use by this pool of at most 1.00 MiB; cuda:0 has ",
               " free of ");
}

// A device that is full gives nothing, then, when unused blocks went back, it does; what runs next is not blamed.
TEST_F(CudaTensor, AreMadeOfWhatWasUnusedWhereTheDeviceIsFull) {
#if defined(HADAL_CUDA_EMULATED)
  emulator::Machine narrow;
  narrow.memory = narrow.memory - rig->device->info().free_bytes + (3 << 20);
  const emulator::OnMachine small(narrow);
  Tensor::zeros(exec(), DType::f32, {1 << 19});  // 2 MiB, which the pool keeps
  const Tensor more = Tensor::zeros(exec(), DType::f32, {(5 << 20) / 8});
  EXPECT_EQ(element(more, 5), 0);
  EXPECT_ERROR(Tensor::empty(exec(), DType::f32, {1 << 19}), ErrorKind::out_of_memory, "out of memory: 2.00 MiB asked");
  more.zero(exec());
  EXPECT_EQ(element(more, 5), 0);
#else
  GTEST_SKIP() << "needs a device whose memory can be chosen";
#endif
}

TEST_F(CudaTensor, GiveTheirMemoryBack) {
  const int64_t before = rig->device->info().free_bytes;
  {
    const staged::DeviceRig other(1);
    Tensor kept = Tensor::zeros(other.exec, DType::f32, {1 << 20});
    EXPECT_LE(other.device->info().free_bytes, before - (4 << 20));
    kept.reset();
    other.exec.memory->trim();
    other.device->wait();  // what was queued with it has run
    EXPECT_EQ(other.device->info().free_bytes, before);
    kept = Tensor::zeros(other.exec, DType::f32, {1 << 20});
  }
  EXPECT_EQ(rig->device->info().free_bytes, before);
}

TEST_F(CudaTensor, OutliveWhatTheyWereMadeWith) {
  Tensor left;
  {
    const staged::DeviceRig other(1);
    left = counting(other.exec, {3, 3});
  }
  EXPECT_EQ(element(left, 4), 4);
}

TEST(CudaDevice, IsRefusedWhereThereIsNone) {
  if (!staged::device_is_there()) GTEST_SKIP() << "no device";
  EXPECT_ERROR(staged::open_device(77), ErrorKind::unsupported, "there is no device cuda:77: this machine has cuda:0");
  for (const char* name : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda:99999"})
    EXPECT_ERROR(parse_device(name), ErrorKind::invalid, "is not known; there are cpu and cuda:0, cuda:1, ...");
  EXPECT_EQ(device_name(parse_device("cuda")), "cuda:0");
  EXPECT_EQ(device_name(parse_device("cuda:3")), "cuda:3");
  EXPECT_EQ(device_name(parse_device("cpu")), "cpu");
}

}  // namespace
}  // namespace hadal

#include "cuda_emulator/asynchronous.h"

#include <algorithm>

#include "base/error.h"
#include "cuda_emulator/block.h"
#include "cuda_emulator/guarded.h"
#include "cuda_emulator/order.h"
#include "cuda_emulator/product.h"

namespace hadal::emulator {
namespace {

using kernels::cuda::kBox;
using kernels::cuda::kBoxBytes;
using kernels::cuda::kOwnElements;
using kernels::cuda::kWarpgroup;
using kernels::cuda::swizzled;

constexpr uint64_t kBegun = 0x6261727269657200ull;  // in the word of a barrier that was begun
constexpr int64_t kMostBytes = (1 << 20) - 1;       // that a phase may lack
constexpr uint32_t kUnderWay = 0x7fa5a5a5;          // sums of a product: a NaN that no arithmetic makes

}  // namespace

struct Asynchronous::Barrier {
  uint64_t* at = nullptr;
  uint32_t expected = 0, pending = 0;
  int64_t bytes = 0;  // announced and not come
  uint32_t phase = 0;
  char mark = 0;
};

struct Asynchronous::Copy {
  uint32_t to = 0;
  kernels::cuda::TensorMap map;
  Corner from;
  Barrier* barrier = nullptr;
  bool late = random_number() % 2 == 0;
};

// The accumulators of a warpgroup while products on them are under way.
struct Asynchronous::Sums {
  float* own[kWarpgroup] = {};     // of each thread; null: it has them back
  uint64_t last[kWarpgroup] = {};  // its last product on them
  ProductSums values;
};

struct Asynchronous::Product {
  ProductIssue what;
  bool late = random_number() % 2 == 0;
  int issued_by = 0;
  std::shared_ptr<Sums> sums;
};

struct Asynchronous::Member {
  bool ready = false;
  uint64_t issued = 0;
  std::deque<uint64_t> groups;  // how many had been issued when each that was not waited for ended
  std::vector<std::shared_ptr<Sums>> held;
};

struct Asynchronous::Warpgroup {
  std::deque<Product> products;  // issued by some thread and not run
  uint64_t done = 0;
  Member members[kWarpgroup];
  char mark = 0;
};

struct Asynchronous::PhaseEnded final : Condition {
  const Barrier& barrier;
  uint32_t parity;
  PhaseEnded(const Barrier& b, uint32_t p) : barrier(b), parity(p) {}
  bool holds() const override { return barrier.phase % 2 != parity; }
  std::string text() const override {
    return fmt::format("phase of parity {} (in phase {}, {} of {} arrivals and {} bytes are missing)", parity,
                       barrier.phase, barrier.pending, barrier.expected, barrier.bytes);
  }
};

struct Asynchronous::ProductsDone final : Condition {
  const Warpgroup& group;
  uint64_t target;
  ProductsDone(const Warpgroup& g, uint64_t t) : group(g), target(t) {}
  bool holds() const override { return group.done >= target; }
  std::string text() const override {
    return fmt::format("product that {} of {} threads have issued",
                       group.products.empty() ? 0 : group.products.front().issued_by, kWarpgroup);
  }
};

Asynchronous::Asynchronous(uint8_t* shared, int64_t bytes, int threads)
    : shared_(shared), bytes_(bytes), view_(size_t(bytes), Guarded::kFresh) {
  for (int i = 0; i < threads / kWarpgroup; ++i) groups_.push_back(std::make_unique<Warpgroup>());
}

Asynchronous::~Asynchronous() = default;

bool Asynchronous::run_one(bool idle) {
  const Unseen unseen;
  std::vector<size_t> copies, groups;
  for (size_t i = 0; i < copies_.size(); ++i)
    if (idle || !copies_[i].late) copies.push_back(i);
  for (size_t i = 0; i < groups_.size(); ++i) {
    const auto& products = groups_[i]->products;
    if (!products.empty() && products.front().issued_by == kWarpgroup && (idle || !products.front().late))
      groups.push_back(i);
  }
  if (copies.empty() && groups.empty()) return false;
  const size_t which = random_number() % (copies.size() + groups.size());
  if (which >= copies.size()) {
    run_first_product(*groups_[groups[which - copies.size()]]);
    return true;
  }
  const Copy copy = copies_[copies[which]];
  copies_.erase(copies_.begin() + int64_t(copies[which]));
  run(copy);
  return true;
}

void Asynchronous::check_ended() const {
  check(copies_.empty(), ErrorKind::internal, "the block ended while {} copies were under way", copies_.size());
  for (const auto& group : groups_) {
    check(group->products.empty(), ErrorKind::internal, "the block ended while {} products were under way",
          group->products.size());
    for (const Member& member : group->members)
      check(member.held.empty(), ErrorKind::internal, "the block ended and had not waited for all products");
  }
}

uint32_t Asynchronous::address_of(const void* in_shared) const {
  const int64_t offset = static_cast<const uint8_t*>(in_shared) - shared_;
  check(offset >= 0 && offset < bytes_, ErrorKind::internal, "{} is no address in shared memory", in_shared);
  return uint32_t(offset);
}

// ---- barriers -------------------------------------------------------------------------------------------------------

void Asynchronous::begin_barrier(void* at, uint32_t arrivals) {
  const Unseen unseen;
  check(address_of(at) % 8 == 0 && arrivals > 0 && arrivals <= kMostBytes, ErrorKind::internal,
        "a barrier of {} arrivals at byte {} of shared memory", arrivals, address_of(at));
  auto* word = static_cast<uint64_t*>(at);
  *word = kBegun + barriers_.size();
  barriers_.push_back(std::make_unique<Barrier>(Barrier{.at = word, .expected = arrivals, .pending = arrivals}));
}

Asynchronous::Barrier& Asynchronous::barrier_at(void* at) {
  const uint64_t number = *static_cast<uint64_t*>(at) - kBegun;
  check(number < barriers_.size() && barriers_[number]->at == at, ErrorKind::internal,
        "the barrier at byte {} of shared memory was never begun, or was overwritten", address_of(at));
  return *barriers_[number];
}

void Asynchronous::end_phase_if_complete(Barrier& barrier) {
  check(std::abs(barrier.bytes) <= kMostBytes, ErrorKind::internal, "a barrier lacks {} bytes", barrier.bytes);
  if (barrier.pending > 0 || barrier.bytes != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.expected;
  wake_all();
}

void Asynchronous::arrive(void* at, int64_t bytes) {
  const Unseen unseen;
  Barrier& barrier = barrier_at(at);
  happens_before(&barrier.mark);
  check(barrier.pending > 0, ErrorKind::internal, "a barrier gets more than the {} arrivals of its phase",
        barrier.expected);
  --barrier.pending, barrier.bytes += bytes;
  end_phase_if_complete(barrier);
}

void Asynchronous::wait_for_phase(void* at, uint32_t parity, const Where& where) {
  Barrier& barrier = barrier_at(at);
  wait_until(PhaseEnded(barrier, parity), where);
  happens_after(&barrier.mark);
}

// ---- copies ---------------------------------------------------------------------------------------------------------

void Asynchronous::copy_box(void* to, const kernels::cuda::TensorMap& map, const Corner& from, void* barrier) {
  const Unseen unseen;
  const uint32_t address = address_of(to);
  check(address % 1024 == 0 && address + kBoxBytes <= bytes_, ErrorKind::internal,
        "a box at byte {} of {} bytes of shared memory, expected a multiple of 1024", address, bytes_);
  copies_.push_back({.to = address, .map = map, .from = from, .barrier = &barrier_at(barrier)});
  happens_before(&copies_.back().barrier->mark);
}

void Asynchronous::run(const Copy& copy) {
  const CopiedMatrices m = copied_matrices(copy.map);
  happens_after(&copy.barrier->mark);
  for (int r = 0; r < kBox; ++r) {
    uint16_t line[kBox] = {};
    const int64_t row = copy.from.row + r, first = copy.from.col;
    if (row >= 0 && row < m.rows && copy.from.matrix >= 0 && copy.from.matrix < m.matrices) {
      const auto* source =
          reinterpret_cast<const uint16_t*>(m.base + row * m.row_bytes + copy.from.matrix * m.matrix_bytes);
      const int64_t from = std::clamp<int64_t>(-first, 0, kBox), to = std::clamp<int64_t>(m.cols - first, from, kBox);
      copy_unseen(line + from, source + first + from, size_t(to - from) * 2);
    }
    for (uint32_t i = 0; i < kBox * 2; i += 16) {
      const uint32_t at = swizzled(copy.to + uint32_t(r) * kBox * 2 + i);
      copy_unseen(shared_ + at, reinterpret_cast<const char*>(line) + i, 16);
      copy_unseen(&view_[at], reinterpret_cast<const char*>(line) + i, 16);
    }
  }
  happens_before(&copy.barrier->mark);
  copy.barrier->bytes -= kBoxBytes;
  end_phase_if_complete(*copy.barrier);
}

void Asynchronous::join_views() { copy_unseen(view_.data(), shared_, size_t(bytes_)); }

// ---- products -------------------------------------------------------------------------------------------------------

Asynchronous::Warpgroup& Asynchronous::own_group() {
  const size_t number = size_t(thread_index() / kWarpgroup);
  check(number < groups_.size(), ErrorKind::internal, "thread {} of {} is in no whole warpgroup", thread_index(),
        block_threads());
  return *groups_[number];
}

void Asynchronous::begin_products() { own_group().members[thread_index() % kWarpgroup].ready = true; }

void Asynchronous::issue(const ProductIssue& what, float* sums) {
  const Unseen unseen;
  Warpgroup& group = own_group();
  const int t = thread_index() % kWarpgroup;
  Member& self = group.members[t];
  check(self.ready, ErrorKind::internal, "thread {} issues a product without begin_products()", thread_index());
  const size_t number = size_t(self.issued++ - group.done);
  if (number == group.products.size()) group.products.push_back({.what = what});
  Product& product = group.products[number];
  check(product.what == what, ErrorKind::internal, "threads of a warpgroup issue different products");
  auto held = std::find_if(self.held.begin(), self.held.end(), [&](const auto& s) { return s->own[t] == sums; });
  if (held == self.held.end()) {  // the first product on these sums
    if (product.sums == nullptr) product.sums = std::make_shared<Sums>();
    held = self.held.insert(self.held.end(), product.sums);
    Sums& s = *product.sums;
    check(s.own[t] == nullptr, ErrorKind::internal, "threads of a warpgroup give a product different sums");
    s.own[t] = sums;
    copy_unseen(s.values.own[t], sums, sizeof(s.values.own[t]));
    for (int i = 0; i < kOwnElements; ++i) copy_unseen(&sums[i], &kUnderWay, 4);
  }
  if (product.sums == nullptr) product.sums = *held;
  check(product.sums == *held, ErrorKind::internal, "threads of a warpgroup give a product different sums");
  product.sums->last[t] = self.issued;
  ++product.issued_by;
  happens_before(&group.mark);
}

void Asynchronous::run_first_product(Warpgroup& group) {
  const Product product = std::move(group.products.front());
  group.products.pop_front();
  ++group.done;
  run_product(product.what, view_.data(), bytes_, product.sums->values);
  wake_all();
}

void Asynchronous::end_products() {
  const Unseen unseen;
  Member& self = own_group().members[thread_index() % kWarpgroup];
  self.groups.push_back(self.issued);
}

void Asynchronous::wait_for_products(size_t groups_left, const Where& where) {
  Warpgroup& group = own_group();
  const int t = thread_index() % kWarpgroup;
  Member& self = group.members[t];
  uint64_t target = 0;
  {
    const Unseen unseen;
    for (; self.groups.size() > groups_left; self.groups.pop_front()) target = self.groups.front();
  }
  wait_until(ProductsDone(group, target), where);
  happens_after(&group.mark);
  take_sums_back(group, t, target);
}

void Asynchronous::take_sums_back(Warpgroup& group, int t, uint64_t done) {
  const Unseen unseen;
  Member& self = group.members[t];
  const auto returned = [&](const std::shared_ptr<Sums>& s) {
    if (s->last[t] > done) return false;
    for (int i = 0; i < kOwnElements; ++i) {
      uint32_t bits;
      copy_unseen(&bits, &s->own[t][i], 4);
      check(bits == kUnderWay, ErrorKind::internal, "thread {} wrote to sum {} of a product under way", thread_index(),
            i);
    }
    copy_unseen(s->own[t], s->values.own[t], sizeof(s->values.own[t]));
    s->own[t] = nullptr;
    return true;
  };
  if (std::erase_if(self.held, returned) > 0) self.ready = false;
}

}  // namespace hadal::emulator

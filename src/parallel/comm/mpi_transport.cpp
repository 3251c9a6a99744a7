#include "comm/mpi_transport.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "base/interrupt.h"
#include "comm/group.h"
#include "comm/mpi/module.h"
#include "comm/open_module.h"
#include "comm/packets.h"

namespace hadal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kStoodStill = 1;  // seconds without a turn of the thread, which sleeps for milliseconds
constexpr double kLastWait = 0.6;  // mpirun's SIGKILL follows its SIGTERM by a second

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// The longest sleep when nothing has moved for so many seconds: a millisecond, and after that a share of the wait, so
// that none becomes much longer by it and who waits for long hardly wakes.
std::chrono::microseconds longest_sleep(double idle_seconds) {
  return std::chrono::microseconds(int64_t(1e6 * std::clamp(idle_seconds / 64, 1e-3, 10e-3)));
}

const ModuleFile kModule = {
    .file = "hadal_mpi.so",
    .symbol = kMpiModuleSymbol,
    .library = "MPI",
    .when_shut = "install it with ./setup --tests, or use ranks as threads: --ranks N",
    .when_built =
        "install openmpi-bin and libopenmpi-dev (./setup --tests) and build again, or use ranks as threads: "
        "--ranks N"};

const MpiModule* load_module() { return reinterpret_cast<MpiModuleFunction>(open_module(kModule))(); }

const char* first_of(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* value = std::getenv(name)) return value;
  return nullptr;
}

}  // namespace

bool started_by_mpi() { return first_of({"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) != nullptr; }

int mpi_ranks_on_this_machine() {
  const char* value = first_of({"OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"});
  return value ? std::max(1, std::atoi(value)) : 1;
}

std::string mpi_rank_name() {
  const char* rank = first_of({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"});
  const char* size = first_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"});
  return rank && size && std::atoi(size) > 1 ? fmt::format("rank {}", rank) : "";
}

void check_built_with_mpi() { module_path(kModule); }

struct MpiTransport::State {
  using Key = std::tuple<int, uint64_t, int64_t>;  // from, channel, number

  MpiOptions options;
  const MpiModule* mpi = nullptr;
  int rank = 0, size = 1;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable for_caller, for_thread;
  // Guarded by the mutex:
  std::deque<std::pair<int, Packet>> outgoing;
  std::map<Key, Message> inbox;
  std::vector<int64_t> announced;        // of each rank: messages that come by other means
  std::string failure;                   // why this rank cannot go on
  bool failure_known = false;            // to the others, from the rank that told this one
  std::vector<Clock::time_point> heard;  // of each rank
  std::vector<bool> gone;                // of each rank: has said that it is done
  bool started = false, ending = false, failing = false, told_leaving = false;
  uint64_t listened = 0;
  Listener listener;  // of the channel `listened`; set before a message of it can come
  // Of the thread alone:
  struct Sending {
    Packet packet;
    void* handle = nullptr;
  };
  std::list<Sending> sending;
  struct Receiving {
    std::vector<std::byte> packet;
    void* handle = nullptr;
  };
  std::vector<std::deque<Receiving>> receiving;  // of each rank
  std::vector<Assembler> assemblers;
  Clock::time_point told_alive = Clock::now(), last_turn = Clock::now();
  // Of the caller, the thread that opened the transport:
  std::thread::id caller = std::this_thread::get_id();
  std::function<void(const std::string&)> teller;  // set while no other thread of this process waits

  void run();
  bool send_some();
  bool receive_some();
  void take(int from, const std::vector<std::byte>& packet);
  void put(int from, Message message) {  // with the mutex held
    const Key key{from, message.label.channel, message.label.number};
    inbox.emplace(key, std::move(message));
    for_caller.notify_all();
  }
  void tell_all(const Packet& packet) {  // with the mutex held
    for (int r = 0; r < size; ++r)
      if (r != rank) outgoing.emplace_back(r, packet);
  }
  void tell_alive();
  void watch(bool moved);
  bool over();  // with the mutex held
  Clock::time_point end_since{};
  void say_failure(const std::string& reason) {  // with the mutex held
    if (failure.empty()) failure = reason;
    for_caller.notify_all();
  }
};

bool MpiTransport::State::send_some() {
  std::deque<std::pair<int, Packet>> taken;
  {
    const std::lock_guard lock(mutex);
    taken.swap(outgoing);
  }
  for (auto& [to, packet] : taken) {
    sending.push_back({std::move(packet), nullptr});
    std::vector<std::byte>& bytes = sending.back().packet.bytes;
    sending.back().handle = mpi->send(bytes.data(), int(bytes.size()), to);
  }
  const size_t before = sending.size();
  sending.remove_if([&](const Sending& one) { return mpi->done(one.handle) != 0; });
  return !taken.empty() || sending.size() != before;
}

// Packets of one rank are taken in their order, whatever order they arrive in.
bool MpiTransport::State::receive_some() {
  bool moved = false;
  for (int from = 0, bytes = 0; mpi->probe(&from, &bytes); moved = true) {
    Receiving& one = receiving[size_t(from)].emplace_back();
    one.packet.resize(size_t(bytes));
    one.handle = mpi->receive(one.packet.data(), bytes, from);
  }
  for (int from = 0; from < size; ++from) {
    for (auto& packets = receiving[size_t(from)]; !packets.empty() && mpi->done(packets.front().handle); moved = true) {
      const std::vector<std::byte> packet = std::move(packets.front().packet);
      packets.pop_front();
      take(from, packet);
    }
  }
  return moved;
}

void MpiTransport::State::take(int from, const std::vector<std::byte>& packet) {
  Assembler::Result result = assemblers[size_t(from)].take(packet);
  std::unique_lock lock(mutex);
  heard[size_t(from)] = Clock::now();
  if (result.message && listener && result.message->label.channel == listened) {
    lock.unlock();
    return listener(from, *result.message);
  }
  if (result.kind == PacketKind::failure) {
    failure_known = failure_known || failure.empty();
    say_failure(fmt::format("rank {} ended: {}", from, result.reason));
  } else if (result.kind == PacketKind::leaving) {
    gone[size_t(from)] = true;
    for_caller.notify_all();
  } else if (result.message) {
    put(from, std::move(*result.message));
  }
}

void MpiTransport::State::tell_alive() {
  if (seconds_since(told_alive) < std::min(2.0, options.silent_seconds / 8)) return;
  told_alive = Clock::now();
  const std::lock_guard lock(mutex);
  tell_all(alive_packet());
}

// Called at every turn. Whoever was not heard of for long, though this rank listened, is lost.
void MpiTransport::State::watch(bool moved) {
  const bool stood_still = seconds_since(last_turn) > kStoodStill;
  last_turn = Clock::now();
  if (moved && !stood_still) return;
  const std::lock_guard lock(mutex);
  if (stood_still) heard.assign(heard.size(), last_turn);
  if (!failure.empty()) return;
  for (int r = 0; r < size; ++r) {
    const double silent = seconds_since(heard[size_t(r)]);
    if (r != rank && !gone[size_t(r)] && silent > options.silent_seconds)
      say_failure(fmt::format("rank {} has given no sign of life for {:.1f} s (--watchdog)", r, silent));
  }
}

// Whether the thread has nothing left to do. A rank that is done stays until all are, and watches them.
bool MpiTransport::State::over() {
  if (ending && !failing && !told_leaving) {
    told_leaving = true;
    tell_all(leaving_packet());
  }
  const bool failed = failing || !failure.empty();
  const bool all_gone = failed || std::count(gone.begin(), gone.end(), false) <= 1;  // its own is never set
  if (ending && all_gone && outgoing.empty() && sending.empty()) return true;
  if (!failing) return false;
  if (end_since == Clock::time_point{}) end_since = Clock::now();
  return seconds_since(end_since) > 3;  // others may be gone already: what cannot be delivered soon is not
}

// Moves what there is; where nothing moves, sleeps: first for moments.
void MpiTransport::State::run() {
  mpi->start();
  {
    const std::lock_guard lock(mutex);
    rank = mpi->rank();
    size = mpi->size();
    heard.assign(size_t(size), Clock::now());
    gone.assign(size_t(size), false);
    announced.assign(size_t(size), 0);
    last_turn = Clock::now();
    started = true;
    for_caller.notify_all();
  }
  assemblers.resize(size_t(size));
  receiving.resize(size_t(size));
  constexpr std::chrono::microseconds kMoment(20);
  auto idle = kMoment;
  auto last_moved = Clock::now();
  while (true) {
    bool moved = false;
    try {
      moved = send_some() | receive_some();
    } catch (const Error& error) {
      const std::lock_guard lock(mutex);
      say_failure(error.what());
    }
    tell_alive();
    watch(moved);
    std::unique_lock lock(mutex);
    if (over()) break;
    if (moved) {
      idle = kMoment;
      last_moved = Clock::now();
      continue;
    }
    for_thread.wait_for(lock, idle, [&] { return !outgoing.empty(); });
    idle = std::min(idle * 2, longest_sleep(seconds_since(last_moved)));
  }
  if (failing || !failure.empty()) {
    if (!failing) fmt::print(stderr, "hadal: error: rank {}, done with its work: {}\n", rank, failure);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // the others say why they end
    mpi->abort(1);
  }
  mpi->finish();
}

MpiTransport::MpiTransport(const MpiOptions& options) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.options = options;
  s.mpi = load_module();
  s.thread = std::thread([&s] { s.run(); });
  std::unique_lock lock(s.mutex);
  s.for_caller.wait(lock, [&] { return s.started; });
}

std::shared_ptr<MpiTransport> MpiTransport::open(const MpiOptions& options) {
  std::shared_ptr<MpiTransport> transport(new MpiTransport(options));
  greet(transport, "");
  return transport;
}

std::vector<std::string> MpiTransport::greet(const std::shared_ptr<MpiTransport>& transport, const std::string& word) {
  std::vector<std::string> words = Group(transport, "greeting").exchange(transport->name() + "\n" + word);
  for (std::string& other : words) {
    const std::string name = other.substr(0, other.find('\n'));
    check(name == transport->name(), ErrorKind::invalid,
          "one rank was started with --transport {}, another with {}: start all with the same words", name,
          transport->name());
    other.erase(0, name.size() + 1);
  }
  return words;
}

MpiTransport::~MpiTransport() { end(); }

void MpiTransport::end() {
  if (!state_->thread.joinable()) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->ending = true;
    state_->for_thread.notify_all();
  }
  state_->thread.join();
}

void MpiTransport::listen(uint64_t channel, Listener listener) {
  const std::lock_guard lock(state_->mutex);
  state_->listened = channel;
  state_->listener = std::move(listener);
}

void MpiTransport::announce(int from) {
  const std::lock_guard lock(state_->mutex);
  ++state_->announced[size_t(from)];
}

void MpiTransport::deliver(int from, Message message) {
  const std::lock_guard lock(state_->mutex);
  --state_->announced[size_t(from)];
  state_->put(from, std::move(message));
}

void MpiTransport::lose(const std::string& reason) {
  const std::lock_guard lock(state_->mutex);
  state_->say_failure(reason);
}

std::string MpiTransport::failure() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failing && state_->failure.empty() ? "this rank ends" : state_->failure;
}

int MpiTransport::rank() const { return state_->rank; }
int MpiTransport::size() const { return state_->size; }

void MpiTransport::send(int to, Message message) {
  std::vector<Packet> packets = packets_of(message);
  const std::lock_guard lock(state_->mutex);
  for (Packet& packet : packets) state_->outgoing.emplace_back(to, std::move(packet));
  state_->for_thread.notify_all();
}

Message MpiTransport::receive(int from, const Label& wanted) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  const State::Key key{from, wanted.channel, wanted.number};
  const auto begin = Clock::now();
  const Doing at = std::this_thread::get_id() == s.caller ? doing() : Doing();  // of others the label says enough
  const auto what = [&] { return fmt::format("waits for {}", wait_text(from, wanted, seconds_since(begin), at)); };
  for (bool told = false;;) {
    const auto found = s.inbox.find(key);
    if (found != s.inbox.end()) {
      Message message = std::move(found->second);
      s.inbox.erase(found);
      return message;
    }
    if (s.failure.empty() && s.gone[size_t(from)] && s.announced[size_t(from)] == 0)
      s.say_failure(fmt::format("rank {} has ended its work", from));
    if (!s.failure.empty()) throw Error(ErrorKind::failed, fmt::format("{}; rank {} {}", s.failure, s.rank, what()));
    if (!told && s.teller && interrupted() && seconds_since(begin) > kLastWait) {
      told = true;
      lock.unlock();
      s.teller(fmt::format("was asked to stop while it {}", what()));
      lock.lock();
      continue;
    }
    s.for_caller.wait_for(lock, std::chrono::milliseconds(interrupted() ? 50 : 200));
  }
}

void MpiTransport::tell_last_waits(std::function<void(const std::string&)> teller) {
  state_->teller = std::move(teller);
}

bool MpiTransport::fail(const std::string& reason) {
  const std::lock_guard lock(state_->mutex);
  const std::string& why = state_->failure.empty() ? reason : state_->failure;
  if (!state_->failure_known) state_->tell_all(failure_packet(why));
  state_->failing = true;
  state_->for_thread.notify_all();
  return !state_->failure_known;
}

}  // namespace hadal

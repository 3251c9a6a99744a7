#include "comm/mpi_transport.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "comm/mpi/module.h"
#include "comm/packets.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

const MpiModule* load_module() {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path beside = program / "hadal_mpi.so", installed = program / "../lib/hadal/hadal_mpi.so";
  // Global: MPI opens plugins of its own, which look for its symbols.
  void* library = nullptr;
  for (const fs::path& path : {beside, program.parent_path() / "hadal_mpi.so", installed}) {
    if (!fs::exists(path)) continue;
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    check(library != nullptr, ErrorKind::unsupported,
          "MPI cannot be opened: {}; install it with ./setup --tests, or use ranks as threads: --ranks N", dlerror());
    break;
  }
  check(
      library != nullptr, ErrorKind::unsupported,
      "this program was built without MPI ({} is not there): install openmpi-bin and libopenmpi-dev (./setup --tests) "
      "and build again, or use ranks as threads: --ranks N",
      beside.string());
  const auto function = reinterpret_cast<MpiModuleFunction>(dlsym(library, kMpiModuleSymbol));
  check(function != nullptr, ErrorKind::unsupported, "{} is of another version of this program", beside.string());
  return function();
}

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
  std::string failure;
  std::vector<Clock::time_point> heard;  // of each rank
  bool started = false, ending = false, failing = false;
  // Of the thread alone:
  struct Sending {
    Packet packet;
    void* handle = nullptr;
  };
  std::list<Sending> sending;
  std::vector<Assembler> assemblers;
  Clock::time_point told_alive = Clock::now();

  void run();
  bool send_some();
  bool receive_some();
  void tell_alive();
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
  sending.remove_if([&](const Sending& one) { return mpi->sent(one.handle) != 0; });
  return !taken.empty() || sending.size() != before;
}

bool MpiTransport::State::receive_some() {
  int from = 0, bytes = 0;
  if (!mpi->probe(&from, &bytes)) return false;
  std::vector<std::byte> packet(static_cast<size_t>(bytes));
  mpi->receive(packet.data(), bytes, from);
  Assembler::Result result = assemblers[size_t(from)].take(packet);
  const std::lock_guard lock(mutex);
  heard[size_t(from)] = Clock::now();
  if (result.kind == PacketKind::failure) {
    say_failure(fmt::format("rank {} ended: {}", from, result.reason));
  } else if (result.message) {
    const Key key{from, result.message->label.channel, result.message->label.number};
    inbox.emplace(key, std::move(*result.message));
    for_caller.notify_all();
  }
  return true;
}

void MpiTransport::State::tell_alive() {
  if (seconds_since(told_alive) < options.alive_seconds) return;
  told_alive = Clock::now();
  const std::lock_guard lock(mutex);
  for (int r = 0; r < size; ++r)
    if (r != rank) outgoing.emplace_back(r, alive_packet());
}

// Moves what there is; where nothing moves, sleeps: first for moments, then for a millisecond.
void MpiTransport::State::run() {
  mpi->start();
  {
    const std::lock_guard lock(mutex);
    rank = mpi->rank();
    size = mpi->size();
    heard.assign(size_t(size), Clock::now());
    started = true;
    for_caller.notify_all();
  }
  assemblers.resize(size_t(size));
  auto idle = std::chrono::microseconds(20);
  Clock::time_point end_since{};
  while (true) {
    bool moved = false;
    try {
      moved = send_some() | receive_some();
    } catch (const Error& error) {
      const std::lock_guard lock(mutex);
      say_failure(error.what());
    }
    tell_alive();
    std::unique_lock lock(mutex);
    if (ending && outgoing.empty() && sending.empty()) break;
    if (failing) {  // others may be gone already: what cannot be delivered soon is not
      if (end_since == Clock::time_point{}) end_since = Clock::now();
      if (seconds_since(end_since) > 3) break;
    }
    if (moved) {
      idle = std::chrono::microseconds(20);
      continue;
    }
    for_thread.wait_for(lock, idle, [&] { return !outgoing.empty(); });
    idle = std::min(idle * 2, std::chrono::microseconds(1000));
  }
  if (failing || !failure.empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // the others say why they end
    mpi->abort(1);
  }
  mpi->finish();
}

MpiTransport::MpiTransport(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::shared_ptr<MpiTransport> MpiTransport::open(const MpiOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  state->mpi = load_module();
  State& s = *state;
  s.thread = std::thread([&s] { s.run(); });
  {
    std::unique_lock lock(s.mutex);
    s.for_caller.wait(lock, [&] { return s.started; });
  }
  return std::shared_ptr<MpiTransport>(new MpiTransport(std::move(state)));
}

MpiTransport::~MpiTransport() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->ending = true;
    state_->for_thread.notify_all();
  }
  state_->thread.join();
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
  std::unique_lock lock(state_->mutex);
  const State::Key key{from, wanted.channel, wanted.number};
  const auto begin = Clock::now();
  while (true) {
    const auto found = state_->inbox.find(key);
    if (found != state_->inbox.end()) {
      Message message = std::move(found->second);
      state_->inbox.erase(found);
      return message;
    }
    if (!state_->failure.empty()) throw Error(ErrorKind::failed, state_->failure);
    const double silent = seconds_since(state_->heard[size_t(from)]);
    if (silent > state_->options.silent_seconds) {
      throw Error(ErrorKind::failed,
                  fmt::format("rank {} has given no sign of life for {:.0f} s; rank {} waits for it in {} no. {} since "
                              "{:.0f} s",
                              from, silent, state_->rank, wanted.operation, wanted.number, seconds_since(begin)));
    }
    state_->for_caller.wait_for(lock, std::chrono::milliseconds(500));
  }
}

void MpiTransport::fail(const std::string& reason) {
  const std::lock_guard lock(state_->mutex);
  for (int r = 0; r < state_->size; ++r)
    if (r != state_->rank) state_->outgoing.emplace_back(r, failure_packet(reason));
  state_->failing = true;
  state_->for_thread.notify_all();
}

}  // namespace hadal

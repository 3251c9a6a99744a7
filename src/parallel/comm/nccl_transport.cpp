#include "comm/nccl_transport.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/random.h"
#include "comm/byte_text.h"
#include "comm/group.h"
#include "comm/nccl_cards.h"
#include "comm/nccl_wire.h"

namespace hadal {
namespace {

const uint64_t kChannel = stream_id("what NCCL carries");
constexpr const char *kOffer = "offer", *kGo = "go";

Message said(const char* word, const std::string& text) {
  Message message{{kChannel, 0, word}, std::make_shared_for_overwrite<std::byte[]>(text.size()), int64_t(text.size())};
  if (!text.empty()) std::memcpy(message.data.get(), text.data(), text.size());
  return message;
}

// What the receiver must know of a message before its bytes come.
template <class Visitor>
void visit(Visitor& visitor, auto& message) {
  visitor(message.label.channel);
  visitor(message.label.number);
  visitor(message.label.operation);
  visitor(message.label.dtype);
  visitor(message.bytes);
}

Message offer_of(const Message& message) {
  ByteWriter writer;
  visit(writer, message);
  return said(kOffer, writer.text);
}

Message offered(const Message& offer) {
  const std::string text(reinterpret_cast<const char*>(offer.data.get()), size_t(offer.bytes));
  Message message;
  ByteReader reader(text);
  visit(reader, message);
  return message;
}

}  // namespace

// The thread that has the card, and what it has to do.
struct NcclTransport::Courier {
  NcclTransport& ranks;
  const int64_t least_bytes;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable changed;
  struct Task {
    enum class Kind { offer, take, give } kind;
    int peer;
    Message message = {};  // to take: without its bytes
  };
  // Guarded by the mutex:
  std::deque<Task> tasks;
  std::map<int, std::deque<Message>> outgoing;  // to each rank, in the order of their offers
  std::map<int, int64_t> goes;                  // of higher ranks, which this one waits for
  int64_t unsent = 0;
  bool stopping = false;
  std::promise<void> connected;

  Courier(NcclTransport& transport, int64_t least) : ranks(transport), least_bytes(least) {}
  void say(int to, Message word) { ranks.MpiTransport::send(to, std::move(word)); }
  void enqueue(int to, Message message);
  void hear(int from, const Message& word);  // on MPI's thread
  void run(const NcclModule& module, int card, const NcclId& id);
  void work(NcclWire& wire, Task& task);
  void give(NcclWire& wire, int to);
  void take(NcclWire& wire, int from, Message& message);
  template <class Work>
  void carry(const char* verb, const Message& message, const char* whither, int peer, Work work);
  void go_on();  // throws where nothing more is to be done
  template <class Condition>
  bool wait(Condition condition);
  void flush();
  void stop();
};

void NcclTransport::Courier::enqueue(int to, Message message) {
  const std::lock_guard lock(mutex);
  ++unsent;
  if (to > ranks.rank()) {
    tasks.push_back({Task::Kind::offer, to});
  } else {
    say(to, offer_of(message));
  }
  outgoing[to].push_back(std::move(message));
  changed.notify_all();
}

void NcclTransport::Courier::hear(int from, const Message& word) {
  const std::lock_guard lock(mutex);
  if (word.label.operation == kOffer) {
    ranks.announce(from);
    tasks.push_back({Task::Kind::take, from, offered(word)});
  } else if (from > ranks.rank()) {
    ++goes[from];
  } else {
    tasks.push_back({Task::Kind::give, from});
  }
  changed.notify_all();
}

void NcclTransport::Courier::go_on() {
  const std::string failure = ranks.failure();
  if (!failure.empty()) throw Error(ErrorKind::failed, failure);
  const std::lock_guard lock(mutex);
  if (stopping) throw Error(ErrorKind::failed, "this rank is done");
}

// Until the condition holds, which is looked at with the mutex held; false: this rank cannot go on.
template <class Condition>
bool NcclTransport::Courier::wait(Condition condition) {
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, std::chrono::milliseconds(50), condition)) {
    lock.unlock();
    if (!ranks.failure().empty()) return false;
    lock.lock();
  }
  return true;
}

// Says of what fails on the card what it was for; where the rank ends anyway, for its own reason.
template <class Work>
void NcclTransport::Courier::carry(const char* verb, const Message& message, const char* whither, int peer, Work work) {
  try {
    work();
  } catch (const Error& error) {
    go_on();
    hadal::fail(ErrorKind::failed, "rank {} cannot {} {} no. {} ({} bytes) {} rank {} over NCCL: {}", ranks.rank(),
                verb, message.label.operation, message.label.number, message.bytes, whither, peer, error.what());
  }
}

void NcclTransport::Courier::give(NcclWire& wire, int to) {
  Message message;
  {
    const std::lock_guard lock(mutex);
    message = std::move(outgoing[to].front());
    outgoing[to].pop_front();
  }
  carry("send", message, "to", to, [&] { wire.send(to, message.view()); });
  const std::lock_guard lock(mutex);
  --unsent;
  changed.notify_all();
}

void NcclTransport::Courier::take(NcclWire& wire, int from, Message& message) {
  message.data = message_memory(message.bytes);
  say(from, said(kGo, ""));
  carry("receive", message, "from", from, [&] { wire.receive(from, {message.data.get(), size_t(message.bytes)}); });
  ranks.deliver(from, std::move(message));
}

void NcclTransport::Courier::work(NcclWire& wire, Task& task) {
  if (task.kind == Task::Kind::take) return take(wire, task.peer, task.message);
  if (task.kind == Task::Kind::offer) {
    {
      const std::lock_guard lock(mutex);
      say(task.peer, offer_of(outgoing[task.peer].front()));
    }
    wait([&] { return stopping || goes[task.peer] > 0; });
    go_on();
    const std::lock_guard lock(mutex);
    --goes[task.peer];
  }
  give(wire, task.peer);
}

void NcclTransport::Courier::run(const NcclModule& module, int card, const NcclId& id) {
  std::optional<NcclWire> wire;
  try {
    wire.emplace(module, card, id, ranks.rank(), ranks.size(), [this] { go_on(); });
  } catch (...) {
    return connected.set_exception(std::current_exception());
  }
  connected.set_value();
  try {
    while (wait([&] { return stopping || !tasks.empty(); })) {
      std::unique_lock lock(mutex);
      if (stopping) return;
      Task task = std::move(tasks.front());
      tasks.pop_front();
      lock.unlock();
      work(*wire, task);
    }
  } catch (const std::exception& error) {
    {
      const std::lock_guard lock(mutex);
      if (stopping) return;
    }
    ranks.lose(error.what());
  }
}

void NcclTransport::Courier::flush() {
  wait([&] { return unsent == 0; });
}

void NcclTransport::Courier::stop() {
  {
    const std::lock_guard lock(mutex);
    stopping = true;
    changed.notify_all();
  }
  if (thread.joinable()) thread.join();
}

NcclTransport::NcclTransport(const NcclOptions& options)
    : MpiTransport({.silent_seconds = options.silent_seconds}),
      courier_(std::make_unique<Courier>(*this, options.least_bytes)) {
  listen(kChannel, [this](int from, const Message& word) { courier_->hear(from, word); });
}

std::shared_ptr<NcclTransport> NcclTransport::open(const NcclOptions& options) {
  int n_cards = 0;
  const NcclModule& module = open_nccl(n_cards);
  std::shared_ptr<NcclTransport> transport(new NcclTransport(options));
  transport->connect(transport, module, n_cards);
  return transport;
}

// Refusals are the same on all ranks, which end one by one; of what fails later the others are told.
void NcclTransport::connect(const std::shared_ptr<NcclTransport>& self, const NcclModule& module, int n_cards) {
  std::vector<RankCards> seen;
  for (const std::string& bytes : greet(self, cards_here(module, n_cards).bytes()))
    seen.push_back(RankCards::of_bytes(bytes));
  const int card = card_of(rank(), seen);
  if (size() == 1) return;
  try {
    NcclId id{};
    if (const char* error = rank() == 0 ? module.make_id(&id) : nullptr) hadal::fail(ErrorKind::failed, "{}", error);
    Group group(self, "NCCL's id");
    group.start_broadcast(0, DType::u8, {std::as_writable_bytes(std::span(id.bytes))}).wait();
    courier_->thread = std::thread([this, &module, card, id] { courier_->run(module, card, id); });
    courier_->connected.get_future().get();
  } catch (const std::exception& error) {
    const std::string text = fmt::format("no connection over NCCL: {}", error.what());
    if (fail(text)) fmt::print(stderr, "hadal: error: rank {}: {}\n", rank(), text);
    std::fflush(stderr);
    throw Error(ErrorKind::failed, text);
  }
}

// What this rank sent has arrived before it says that it is done; until all others have, it takes what they offer.
NcclTransport::~NcclTransport() {
  courier_->flush();
  if (!failure().empty()) courier_->stop();  // operations on the cards end before the processes do
  end();
  courier_->stop();
}

void NcclTransport::send(int to, Message message) {
  if (!courier_->thread.joinable() || message.bytes < courier_->least_bytes)
    return MpiTransport::send(to, std::move(message));
  courier_->enqueue(to, std::move(message));
}

}  // namespace hadal

// What server_testing.h declares. (In a file of tests, because each room's tests are one program.)
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "server/server_testing.h"

namespace hadal {

namespace {
constexpr int kMilliseconds = 20000;
}

bool soon(const std::function<bool()>& reached) {
  for (int i = 0; i < 1600 && !reached(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(25));
  return reached();
}

int64_t open_descriptors() {
  int64_t n = 0;
  for (const auto& one : std::filesystem::directory_iterator("/proc/self/fd")) n += !one.path().empty();
  return n;
}

Peer::Peer(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(uint16_t(port));
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&place), sizeof(place)) != 0) leave();
}

Peer::~Peer() { leave(); }

void Peer::leave() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

bool Peer::send(const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::send(socket_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += size_t(n);
  }
  return true;
}

std::string Peer::read_some() {
  pollfd one{socket_, POLLIN, 0};
  if (socket_ < 0 || ::poll(&one, 1, kMilliseconds) <= 0) return "";
  std::string bytes(1 << 16, '\0');
  const ssize_t n = ::recv(socket_, bytes.data(), bytes.size(), 0);
  bytes.resize(n > 0 ? size_t(n) : 0);
  return bytes;
}

bool Peer::closed() {
  while (!read_some().empty()) continue;
  char byte;
  return ::recv(socket_, &byte, 1, MSG_DONTWAIT) == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

std::string Peer::chunks(bool& whole) {
  std::string body;
  for (;;) {
    size_t end = buffer_.find("\r\n");
    while (end == std::string::npos && fill()) end = buffer_.find("\r\n");
    if (end == std::string::npos) return body;
    const size_t size = std::stoul(buffer_.substr(0, end), nullptr, 16), all = end + 2 + size + 2;
    while (buffer_.size() < all && fill()) continue;
    if (buffer_.size() < all) return body + buffer_.substr(end + 2);
    body += buffer_.substr(end + 2, size);
    buffer_.erase(0, all);
    if (size == 0) {
      whole = true;
      return body;
    }
  }
}

Answer Peer::answer(bool head_only) {
  Answer answer;
  size_t end = buffer_.find("\r\n\r\n");
  while (end == std::string::npos && fill()) end = buffer_.find("\r\n\r\n");
  if (end == std::string::npos) return answer;
  answer.head = buffer_.substr(0, end + 2);
  buffer_.erase(0, end + 4);
  answer.status = std::stoi(answer.head.substr(9, 3));
  if (head_only) return answer;
  const size_t length = answer.head.find("Content-Length: ");
  if (length == std::string::npos) {
    if (answer.head.find("chunked") != std::string::npos) {
      answer.body = chunks(answer.whole);
    } else {
      while (fill()) continue;
      answer.body = buffer_;
      answer.whole = true;
    }
    return answer;
  }
  const size_t bytes = std::stoul(answer.head.substr(length + 16));
  while (buffer_.size() < bytes && fill()) continue;
  answer.whole = buffer_.size() >= bytes;
  answer.body = buffer_.substr(0, bytes);
  buffer_.erase(0, bytes);
  return answer;
}

std::string request_text(const std::string& method, const std::string& path, const std::string& body,
                         const std::string& fields) {
  std::string text = method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + fields;
  if (method == "POST") text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + "\r\n" + body;
}

Answer ask(int port, const std::string& method, const std::string& path, const std::string& body,
           const std::string& fields) {
  Peer peer(port);
  peer.send(request_text(method, path, body, fields));
  return peer.answer();
}

std::vector<Json> events_of(const std::string& body, bool* done) {
  std::vector<Json> events;
  for (size_t at = 0; at < body.size();) {
    const size_t end = std::min(body.find("\n\n", at), body.size());
    std::string line = body.substr(at, end - at), name;
    at = end + 2;
    if (line.starts_with("event: ")) {  // of responses: the name that the JSON says too
      name = line.substr(7, line.find('\n') - 7);
      line.erase(0, line.find('\n') + 1);
    }
    EXPECT_TRUE(line.starts_with("data: ")) << line;
    if (line == "data: [DONE]") {
      if (done != nullptr) *done = true;
      continue;
    }
    events.push_back(parse_json<Json>(line.substr(6), "an event"));
    if (!name.empty()) {
      EXPECT_EQ(events.back()["type"], name);
    }
  }
  return events;
}

std::vector<std::string> texts_of(const std::vector<Json>& events, const char* part) {
  std::vector<std::string> texts;
  for (const Json& event : events) {
    if (!event.contains("choices")) continue;
    for (const Json& choice : event["choices"]) {
      const auto index = choice["index"].get<size_t>();
      if (texts.size() <= index) texts.resize(index + 1);
      const Json& from = choice.contains("delta") ? choice["delta"] : choice;
      const char* name = choice.contains("delta") ? part : "text";
      if (from.contains(name) && from[name].is_string()) texts[index] += from[name].get<std::string>();
    }
  }
  return texts;
}

}  // namespace hadal

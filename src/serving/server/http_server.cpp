// Boost.Asio and Beast, in this file alone: one coroutine per connection, all on one thread.
#include "server/http_server.h"

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <list>
#include <mutex>
#include <set>
#include <thread>

#include "base/error.h"
#include "server/http_checks.h"
#include "server/http_text.h"
#include "server/reply_box.h"

#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // GCC 12 takes coroutines' own operators for others

namespace hadal {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using Code = beast::error_code;
using Task = asio::awaitable<void>;

auto into(Code& code) { return asio::redirect_error(asio::use_awaitable, code); }
std::chrono::nanoseconds seconds(double value) { return std::chrono::nanoseconds(int64_t(value * 1e9)); }

constexpr double kLookSeconds = 0.2;              // how often a peer that waits is looked at
constexpr size_t kSliceBytes = size_t(64) << 10;  // progress of a reader is measured in these

using Parser = http::request_parser<http::string_body>;

HttpRequest head_of(const Parser& parser) {
  const auto& message = parser.get();
  HttpRequest head = http_request_of(message.method_string(), message.target());
  for (const auto& field : message) head.add(field.name_string(), field.value());
  return head;
}

// Status for what the parser refuses; 0: there is nobody to tell.
int status_of(const Code& code) {
  if (code == http::error::header_limit) return 431;
  if (code == http::error::body_limit) return 413;
  if (code == http::error::bad_version) return 505;
  if (code == http::error::end_of_stream || code == http::error::partial_message) return 0;
  return code.category() == Code(http::error::bad_method).category() ? 400 : 0;
}

}  // namespace

class HttpConnection;

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  explicit Impl(const HttpOptions& o, HttpHandler h)
      : options(o), handler(std::move(h)), acceptor(io), workers(size_t(std::max(1, o.workers))) {}

  void listen();
  Task accept();
  std::shared_ptr<void> hold(int64_t bytes);  // memory of a body, while somebody has it; null: there is too little
  bool make_room();                           // closes the connection that has idled longest; false: none idles

  HttpOptions options;
  HttpHandler handler;
  asio::io_context io{1};
  tcp::acceptor acceptor;
  asio::thread_pool workers;
  std::thread thread;
  HttpNames names;
  int port = 0;
  int64_t most = 0;
  std::atomic<bool> draining = false;
  std::atomic<int64_t> accepted = 0, cut_off = 0, held = 0;
  std::set<HttpConnection*> all;    // these two are the io thread's alone
  std::list<HttpConnection*> idle;  // longest first
  std::mutex mutex;
  std::condition_variable none_left;
  int64_t connections = 0;  // under the mutex
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(std::shared_ptr<HttpServer::Impl> server, tcp::socket socket)
      : server_(std::move(server)), stream_(std::move(socket)), wake_(server_->io) {
    server_->all.insert(this);
    const std::lock_guard lock(server_->mutex);
    ++server_->connections;
  }
  ~HttpConnection() {
    server_->all.erase(this);
    const std::lock_guard lock(server_->mutex);
    if (--server_->connections == 0) server_->none_left.notify_all();
  }

  Task run();
  void close() { stream_.close(), wake_.cancel(); }

 private:
  Task next_head(Parser& parser, bool& there);
  Task one_request(Parser& parser, bool& goes_on);
  Task body(Parser& parser, const HttpRequest& head, bool& there);
  Task send(std::shared_ptr<ReplyBox> box, const std::string& method, bool& goes_on);
  Task write(std::string bytes, bool& sent);
  Task refuse(HttpAnswer&& answer, const std::string& method);
  Task refuse_code(const Code& code);
  std::shared_ptr<ReplyBox> new_box();

  std::shared_ptr<HttpServer::Impl> server_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  asio::steady_timer wake_;
  bool one_dot_one_ = true;
};

Task HttpConnection::run() {
  const auto self = shared_from_this();
  bool goes_on = true;
  while (goes_on && !server_->draining) {
    Parser parser;
    parser.header_limit(uint32_t(server_->options.head_bytes));
    parser.body_limit(uint64_t(server_->options.body_bytes));
    bool there = false;
    co_await next_head(parser, there);
    goes_on = false;
    if (there) co_await one_request(parser, goes_on);
  }
  Code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
  stream_.close();
}

Task HttpConnection::next_head(Parser& parser, bool& there) {
  Code code;
  if (buffer_.size() == 0) {
    const auto place = server_->idle.insert(server_->idle.end(), this);
    stream_.expires_after(seconds(server_->options.idle_seconds));
    const auto room = buffer_.prepare(4096);
    const size_t n = co_await stream_.async_read_some(room, into(code));
    server_->idle.erase(place);
    if (code) co_return;
    buffer_.commit(n);
  }
  stream_.expires_after(seconds(server_->options.head_seconds));
  co_await http::async_read_header(stream_, buffer_, parser, into(code));
  there = !code;
  if (code) co_await refuse_code(code);
}

Task HttpConnection::one_request(Parser& parser, bool& goes_on) {
  HttpRequest head = head_of(parser);
  const int minor = int(parser.get().version()) % 10;
  one_dot_one_ = minor > 0;
  std::optional<HttpAnswer> no;
  if (auto refused = refused_head(head, minor, server_->names))
    no = server_->handler.refuse(refused->first, refused->second);
  else if (server_->draining)
    no = server_->handler.refuse(503, "this server is ending; ask again when it is back");
  else
    no = server_->handler.admit(head);
  const int64_t most = parser.is_done() ? 0 : server_->options.body_bytes;
  const auto held = server_->hold(std::min(most, int64_t(parser.content_length().value_or(uint64_t(most)))));
  if (!no && !held) no = server_->handler.refuse(503, "too many bodies are under way already; ask again later");
  const bool keeps = parser.keep_alive();
  if (no && parser.is_done() && keeps && no->status != 400 && !server_->draining) {  // no body, nothing in doubt
    std::string text = http_answer_text(*no, {head.method, one_dot_one_, true});
    co_await write(std::move(text), goes_on);
    co_return;
  }
  if (no) {
    co_await refuse(std::move(*no), head.method);
    co_return;
  }
  bool there = false;
  co_await body(parser, head, there);
  if (!there) co_return;
  head.body = std::move(parser.get().body());
  const std::shared_ptr<ReplyBox> box = new_box();
  const std::string method = head.method;
  asio::post(server_->workers, [server = server_, box, held, head = std::move(head)]() mutable {
    try {
      server->handler.handle(std::move(head), box);
    } catch (const std::exception& error) {
      box->answer(server->handler.refuse(500, error.what()));
    }
  });
  goes_on = keeps;
  co_await send(box, method, goes_on);
}

Task HttpConnection::body(Parser& parser, const HttpRequest& head, bool& there) {
  Code code;
  if (!parser.is_done() && !head.field("expect").empty()) {
    bool sent = false;
    std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    co_await write(std::move(go_on), sent);
    if (!sent) co_return;
  }
  stream_.expires_after(seconds(server_->options.body_seconds));
  if (!parser.is_done()) co_await http::async_read(stream_, buffer_, parser, into(code));
  there = !code;
  if (code) co_await refuse_code(code);
}

// What the handler gives, as it comes; a peer that leaves meanwhile ends its request.
Task HttpConnection::send(std::shared_ptr<ReplyBox> box, const std::string& method, bool& goes_on) {
  bool fine = true, ended = false, chunked = false;
  while (fine && !ended) {
    ReplyBox::Taken taken = box->take();
    if (taken.nothing()) {
      Code code;
      wake_.expires_after(seconds(kLookSeconds));
      co_await wake_.async_wait(into(code));
      fine = stream_.socket().is_open() && !peer_left(stream_.socket().native_handle());
      continue;
    }
    if (taken.overrun) ++server_->cut_off, fine = false;
    if (!fine) break;
    const bool keeps = goes_on && !server_->draining;
    std::string text;
    if (taken.answer) text = http_answer_text(*taken.answer, {method, one_dot_one_, goes_on = keeps});
    if (taken.head) {
      goes_on = keeps && one_dot_one_;  // without chunks the end of the stream is that of the connection
      chunked = one_dot_one_;
      text = http_stream_head(taken.head->first, taken.head->second, {method, one_dot_one_, goes_on});
    }
    if (!taken.bytes.empty() && method != "HEAD")
      text += chunked ? fmt::format("{:x}\r\n{}\r\n", taken.bytes.size(), taken.bytes) : taken.bytes;
    ended = taken.ended;
    if (ended && chunked && method != "HEAD") text += "0\r\n\r\n";
    co_await write(std::move(text), fine);
  }
  fine ? box->close() : box->leave();
  goes_on = goes_on && fine;
}

Task HttpConnection::write(std::string bytes, bool& sent) {
  Code code;
  for (size_t at = 0; at < bytes.size() && !code; at += kSliceBytes) {
    stream_.expires_after(seconds(server_->options.stalled_seconds));
    const asio::const_buffer slice(bytes.data() + at, std::min(kSliceBytes, bytes.size() - at));
    co_await asio::async_write(stream_, slice, into(code));
  }
  stream_.expires_never();
  sent = !code;
}

Task HttpConnection::refuse_code(const Code& code) {
  const int status = status_of(code);
  if (status == 0) co_return;
  std::string text = code.message();
  if (status == 431) text = fmt::format("the head has more than {} bytes", server_->options.head_bytes);
  if (status == 413) text = fmt::format("the body has more than {} bytes", server_->options.body_bytes);
  HttpAnswer answer = server_->handler.refuse(status, text);
  co_await refuse(std::move(answer), "");
}

// The last answer on a connection. What the peer still sends is read for a while and thrown away: closed at once, the
// connection would be reset and the answer lost.
Task HttpConnection::refuse(HttpAnswer&& answer, const std::string& method) {
  bool sent = false;
  std::string text = http_answer_text(answer, {method, one_dot_one_, false});
  co_await write(std::move(text), sent);
  Code code;
  stream_.socket().shutdown(tcp::socket::shutdown_send, code);
  stream_.expires_after(std::chrono::seconds(2));
  std::string rest(kSliceBytes, '\0');
  for (int64_t left = 4 * server_->options.body_bytes; sent && !code && left > 0;) {
    const asio::mutable_buffer room(rest.data(), rest.size());
    left -= int64_t(co_await stream_.async_read_some(room, into(code)));
  }
}

std::shared_ptr<ReplyBox> HttpConnection::new_box() {
  ReplyBox::Ways ways;
  ways.waiting_bytes = server_->options.waiting_bytes;
  // Whoever holds the box may outlive connection and server.
  ways.wake = [server = std::weak_ptr(server_), connection = weak_from_this()] {
    if (const auto there = server.lock())
      asio::post(there->io, [connection] {
        if (const auto awake = connection.lock()) awake->wake_.cancel();
      });
  };
  ways.on_a_worker = [server = std::weak_ptr(server_)](std::function<void()> work) {
    if (const auto there = server.lock())
      asio::post(there->workers, std::move(work));
    else
      work();
  };
  return std::make_shared<ReplyBox>(std::move(ways));
}

void HttpServer::Impl::listen() {
  Code code;
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, code);
  check(!code && !found.empty(), ErrorKind::invalid,
        "--host {}: no address of this machine ({}); 127.0.0.1 serves this machine alone, 0.0.0.0 all networks",
        options.host, code.message());
  const tcp::endpoint place = found.begin()->endpoint();
  acceptor.open(place.protocol(), code);
  if (!code) acceptor.set_option(tcp::acceptor::reuse_address(true), code);
  if (!code) acceptor.bind(place, code);
  if (!code) acceptor.listen(asio::socket_base::max_listen_connections, code);
  check(code != asio::error::address_in_use, ErrorKind::io,
        "port {} of {} is in use by another program; end that one, or choose another port: --port 0 takes any free one",
        options.port, options.host);
  check(!code, ErrorKind::io, "cannot listen on {} port {}: {}{}", options.host, options.port, code.message(),
        options.port > 0 && options.port < 1024 ? "; ports below 1024 belong to the administrator" : "");
  port = acceptor.local_endpoint().port();
  names = http_names(options.host, place.address().is_loopback(), options.names);
  most = options.connections > 0 ? options.connections : connections_allowed();
}

std::shared_ptr<void> HttpServer::Impl::hold(int64_t bytes) {
  if (bytes <= int64_t(kSliceBytes)) return shared_from_this();  // small ones always pass
  const auto give_back = [self = shared_from_this(), bytes](void*) { self->held -= bytes; };
  std::shared_ptr<void> hold(this, give_back);
  return (held += bytes) <= options.held_bytes ? hold : nullptr;
}

bool HttpServer::Impl::make_room() {
  if (idle.empty()) return false;
  idle.front()->close();
  idle.splice(idle.end(), idle, idle.begin());  // it leaves the list by itself, later
  return true;
}

Task HttpServer::Impl::accept() {
  const auto self = shared_from_this();
  while (acceptor.is_open()) {
    Code code;
    tcp::socket socket(io);
    co_await acceptor.async_accept(socket, into(code));
    if (!acceptor.is_open()) co_return;
    if (code) {  // no descriptor is left: the next one fails too, until one is given back
      make_room();
      asio::steady_timer pause(io, std::chrono::milliseconds(20));
      co_await pause.async_wait(into(code));
      continue;
    }
    ++accepted;
    if (int64_t(all.size()) >= most && !make_room()) {
      ++cut_off;
      continue;  // the socket closes
    }
    socket.set_option(tcp::no_delay(true), code);
    socket.set_option(asio::socket_base::send_buffer_size(256 << 10), code);  // a reader's delay is ours to see
    const auto connection = std::make_shared<HttpConnection>(self, std::move(socket));
    asio::co_spawn(io, connection->run(), [connection](std::exception_ptr) {});
  }
}

HttpServer::HttpServer(const HttpOptions& options, HttpHandler handler)
    : impl_(std::make_shared<Impl>(options, std::move(handler))) {
  impl_->listen();
  asio::co_spawn(impl_->io, impl_->accept(), asio::detached);
  impl_->thread = std::thread([impl = impl_.get()] { impl->io.run(); });
}

HttpServer::~HttpServer() {
  asio::post(impl_->io, [impl = impl_.get()] {
    Code ignored;
    impl->acceptor.close(ignored);
    for (HttpConnection* connection : impl->all) connection->close();
  });
  impl_->thread.join();  // it has nothing to do any more
  impl_->workers.join();
}

int HttpServer::port() const { return impl_->port; }

std::string HttpServer::url() const { return http_url(impl_->options.host, impl_->port); }

HttpCounts HttpServer::counts() const {
  const std::lock_guard lock(impl_->mutex);
  return {impl_->connections, impl_->accepted, impl_->cut_off};
}

void HttpServer::drain() {
  asio::post(impl_->io, [impl = impl_.get()] {
    impl->draining = true;
    Code ignored;
    impl->acceptor.close(ignored);
    for (HttpConnection* connection : impl->idle) connection->close();
    const std::lock_guard lock(impl->mutex);
    impl->none_left.notify_all();
  });
  std::unique_lock lock(impl_->mutex);
  impl_->none_left.wait(lock, [&] { return impl_->draining && impl_->connections == 0; });
}

}  // namespace hadal

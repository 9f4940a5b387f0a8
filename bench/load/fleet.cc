#include "fleet.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

namespace load {
namespace {

constexpr size_t kReadSize = 256 * 1024;
constexpr int kEvents = 1024;
// More would be what a target may refuse.
constexpr uint32_t kOpenAtOnce = 1000;
// Fewer than the 28,000 ports that Linux gives out by default, so that some may wait in TIME_WAIT.
constexpr uint32_t kConnectionsPerSource = 20'000;

[[noreturn]] void Stop(const char* what) {
  std::fprintf(stderr, "load: %s: %s\n", what, std::strerror(errno));
  std::exit(2);
}

sockaddr_in AddressOf(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    std::fprintf(stderr, "load: %s is not an IPv4 address\n", host.c_str());
    std::exit(2);
  }
  return address;
}

// Opening and closing goes through ports far faster than holding does.
uint32_t SourcesFor(const Options& options, uint32_t count) {
  if (options.sources > 0) return options.sources;
  return options.mode == "connect" || options.mode == "reset" || options.mode == "storm" ? 16 : count / kConnectionsPerSource + 1;
}

}  // namespace

Fleet::Fleet(const Options& options, uint32_t count, uint32_t first_client)
    : options_(options),
      first_client_(first_client),
      sources_(SourcesFor(options, count)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      connections_(count),
      events_(kEvents),
      buffer_(kReadSize) {
  if (epoll_ < 0) Stop("epoll_create1");
  if (options.tls) tls_ = std::make_unique<TlsClient>(options.ca_file, options.resume);
}

Fleet::~Fleet() {
  for (uint32_t index = 0; index < size(); index++) Close(index);
  close(epoll_);
}

void Fleet::Open(uint32_t index) {
  Connection& connection = connections_[index];
  connection = Connection();
  connection.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (connection.fd < 0) Stop("socket (is `ulimit -n` large enough?)");
  const int on = 1;
  setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (sources_ > 1) {
    // The port is chosen at connect, by the whole four-tuple.
    setsockopt(connection.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in source = AddressOf("127.0.0.1", 0);
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + opens_++ % sources_);
    if (bind(connection.fd, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0) Stop("bind");
  }
  sockaddr_in address = AddressOf(options_.host, options_.port);
  connection.opened_at = NowNs();
  if (connect(connection.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno != EINPROGRESS) {
    Fail(index, std::string("connect: ") + std::strerror(errno), nullptr);
    return;
  }
  connection.stage = Stage::kConnecting;
  connection.interest = EPOLLOUT;
  epoll_event event{};
  event.events = EPOLLOUT;
  event.data.u32 = index;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event) != 0) Stop("epoll_ctl");
}

void Fleet::Close(uint32_t index, bool reset) {
  Connection& connection = connections_[index];
  if (connection.fd < 0) return;
  if (reset) {
    const linger at_once{1, 0};
    setsockopt(connection.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  // Without this OpenSSL would refuse to resume the session of a connection closed without close_notify.
  if (connection.ssl) SSL_set_shutdown(connection.ssl.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  connection.ssl.reset();
  close(connection.fd);
  connection.fd = -1;
  connection.stage = Stage::kClosed;
  connection.unsent.clear();
  connection.partial.clear();
}

void Fleet::Fail(uint32_t index, const std::string& reason, Handler* handler) {
  Close(index);
  connections_[index].stage = Stage::kClosed;
  last_reason_ = reason;
  if (handler != nullptr) {
    handler->OnClosed(index, reason);
  } else {
    failed_.emplace_back(index, reason);
  }
}

uint32_t Fleet::ConnectAll(Handler& handler) {
  const uint64_t deadline = NowNs() + SecondsToNs(options_.deadline);
  uint32_t next = 0;
  uint32_t first_open = 0;
  while (first_open < size() && NowNs() < deadline) {
    uint32_t open = 0;
    for (uint32_t index = first_open; index < next; index++) {
      const Stage stage = connections_[index].stage;
      if (stage < Stage::kReady) open++;
      if (index == first_open && stage >= Stage::kReady) first_open++;
    }
    while (open < std::min(options_.concurrency, kOpenAtOnce) && next < size()) {
      Open(next++);
      open++;
    }
    if (open > 0) Poll(100 * kMillisecond, handler);
  }
  return static_cast<uint32_t>(std::count_if(connections_.begin(), connections_.end(), [](const Connection& c) { return c.stage != Stage::kReady; }));
}

bool Fleet::Subscribe(uint32_t index, std::string_view filter, uint32_t qos) {
  class Waiter : public Handler {
   public:
    void OnPacket(uint32_t, const Packet& packet) override {
      if (packet.type() != kSuback) return;
      answered = true;
      granted = !packet.body.empty() && packet.body.back() < 3;
    }
    bool answered = false;
    bool granted = false;
  } waiter;
  Write(index, EncodeSubscribe(filter, qos, options_.version));
  return PollUntil([&] { return waiter.answered; }, NowNs() + SecondsToNs(options_.deadline), waiter) && waiter.granted;
}

bool Fleet::WasResumed(uint32_t index) const {
  const SslPointer& ssl = connections_[index].ssl;
  return ssl && SSL_session_reused(ssl.get()) == 1;
}

bool Fleet::PollUntil(const std::function<bool()>& done, uint64_t deadline, Handler& handler) {
  while (!done()) {
    const uint64_t now = NowNs();
    if (now >= deadline) return false;
    Poll(std::min(deadline - now, 100 * kMillisecond), handler);
  }
  return true;
}

void Fleet::Poll(uint64_t timeout_ns, Handler& handler) {
  if (!failed_.empty()) {
    std::vector<std::pair<uint32_t, std::string>> failed;
    failed.swap(failed_);
    for (const auto& [index, reason] : failed) handler.OnClosed(index, reason);
  }
  const timespec timeout{static_cast<time_t>(timeout_ns / kSecond), static_cast<long>(timeout_ns % kSecond)};
  const int count = epoll_pwait2(epoll_, events_.data(), kEvents, &timeout, nullptr);
  if (count < 0 && errno != EINTR) Stop("epoll_pwait2");
  for (int at = 0; at < count; at++) {
    const epoll_event& event = events_[static_cast<size_t>(at)];
    const uint32_t index = event.data.u32;
    if (connections_[index].stage == Stage::kReady) {
      if ((event.events & EPOLLOUT) != 0) Flush(index);
      if ((event.events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) Receive(index, handler);
    } else if (connections_[index].stage != Stage::kClosed) {
      Step(index, event.events, handler);
    }
  }
}

// One step of a connection that is not ready yet.
void Fleet::Step(uint32_t index, uint32_t events, Handler& handler) {
  Connection& connection = connections_[index];
  if (connection.stage == Stage::kConnecting) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Fail(index, std::string("connect: ") + std::strerror(error), &handler);
    if (tls_) {
      connection.ssl = tls_->Open(connection.fd, options_.host);
      connection.stage = Stage::kHandshake;
    } else {
      return BeginProtocol(index);
    }
  }
  if (connection.stage == Stage::kHandshake) return Handshake(index, handler);
  if (connection.stage == Stage::kAwaitUpgrade && (events & EPOLLOUT) == 0) return AwaitUpgrade(index, handler);
  if ((events & EPOLLOUT) != 0) Flush(index);
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) Receive(index, handler);
}

void Fleet::Handshake(uint32_t index, Handler& handler) {
  SSL* ssl = connections_[index].ssl.get();
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl);
  if (result == 1) return BeginProtocol(index);
  switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
      return SetInterest(index, EPOLLIN);
    case SSL_ERROR_WANT_WRITE:
      return SetInterest(index, EPOLLOUT);
    default:
      return Fail(index, "TLS handshake: " + TlsError(), &handler);
  }
}

void Fleet::BeginProtocol(uint32_t index) {
  if (!options_.websocket) return SendConnect(index);
  connections_[index].stage = Stage::kAwaitUpgrade;
  SetInterest(index, EPOLLIN);
  Send(index, EncodeUpgrade(options_.host, options_.port));
}

// The answer to the upgrade; nothing follows it before our CONNECT.
void Fleet::AwaitUpgrade(uint32_t index, Handler& handler) {
  Connection& connection = connections_[index];
  const ssize_t got = ReadSome(connection, buffer_.data(), buffer_.size());
  if (got < 0) return Fail(index, "the upgrade was not answered", &handler);
  connection.partial.append(reinterpret_cast<const char*>(buffer_.data()), static_cast<size_t>(got));
  if (connection.partial.find("\r\n\r\n") == std::string::npos) return;
  if (!connection.partial.starts_with("HTTP/1.1 101 ")) return Fail(index, "the upgrade was refused: " + connection.partial.substr(0, connection.partial.find('\r')), &handler);
  connection.partial.clear();
  SendConnect(index);
}

void Fleet::SendConnect(uint32_t index) {
  connections_[index].stage = Stage::kAwaitConnack;
  SetInterest(index, EPOLLIN);
  // Keep-alive 0 but for `hold`: nobody may be closed for being slow while it is measured. There it is long enough for
  // the first connection to wait until the last one is open.
  const auto keep_alive = static_cast<uint16_t>(options_.mode == "hold" ? std::min(options_.interval * 2 + options_.deadline * 2, 65535.0) : 0);
  Write(index, EncodeConnect(options_.client + "-" + std::to_string(first_client_ + index), options_.version, keep_alive));
}

void Fleet::SetInterest(uint32_t index, uint32_t interest) {
  Connection& connection = connections_[index];
  if (connection.interest == interest) return;
  connection.interest = interest;
  epoll_event event{};
  event.events = interest;
  event.data.u32 = index;
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event) != 0) Stop("epoll_ctl");
}

ssize_t Fleet::WriteSome(Connection& connection, std::string_view bytes) {
  if (!connection.ssl) {
    const ssize_t sent = send(connection.fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
  }
  size_t sent = 0;
  ERR_clear_error();  // an error left behind would be taken for one of this call
  if (SSL_write_ex(connection.ssl.get(), bytes.data(), bytes.size(), &sent) == 1) return static_cast<ssize_t>(sent);
  const int error = SSL_get_error(connection.ssl.get(), 0);
  return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? 0 : -1;
}

void Fleet::Write(uint32_t index, std::string_view bytes) {
  if (!options_.websocket) return Send(index, bytes);
  frame_.clear();
  AppendFrame(frame_, bytes);
  Send(index, frame_);
}

void Fleet::Send(uint32_t index, std::string_view bytes) {
  Connection& connection = connections_[index];
  if (connection.fd < 0) return;
  if (connection.unsent.empty()) {
    while (!bytes.empty()) {
      const ssize_t sent = WriteSome(connection, bytes);
      if (sent < 0) return Fail(index, connection.ssl ? TlsError() : std::string("send: ") + std::strerror(errno), nullptr);
      if (sent == 0) break;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    if (bytes.empty()) return;
  }
  connection.unsent.append(bytes);
  SetInterest(index, EPOLLIN | EPOLLOUT);
}

void Fleet::Flush(uint32_t index) {
  Connection& connection = connections_[index];
  std::string waiting;
  waiting.swap(connection.unsent);
  std::string_view left = waiting;
  while (!left.empty()) {
    const ssize_t sent = WriteSome(connection, left);
    if (sent < 0) return Fail(index, "the connection was closed while writing", nullptr);
    if (sent == 0) break;
    left.remove_prefix(static_cast<size_t>(sent));
  }
  connection.unsent.assign(left);
  if (left.empty()) SetInterest(index, EPOLLIN);
}

ssize_t Fleet::ReadSome(Connection& connection, uint8_t* to, size_t size) {
  if (!connection.ssl) {
    const ssize_t got = recv(connection.fd, to, size, MSG_DONTWAIT);
    if (got > 0) return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
  }
  size_t got = 0;
  ERR_clear_error();
  if (SSL_read_ex(connection.ssl.get(), to, size, &got) == 1) return static_cast<ssize_t>(got);
  const int error = SSL_get_error(connection.ssl.get(), 0);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

// One recv of a plain socket; of a TLS one all records that are there, since epoll does not see what OpenSSL holds.
void Fleet::Receive(uint32_t index, Handler& handler) {
  Connection& connection = connections_[index];
  bool is_more = true;
  while (is_more && connection.fd >= 0) {
    // A packet may be larger than the buffer's rest: it grows with what is left over.
    const size_t kept = connection.partial.size();
    if (buffer_.size() < kept + kReadSize / 2) buffer_.resize(kept * 2 + kReadSize);
    std::memcpy(buffer_.data(), connection.partial.data(), kept);
    size_t filled = kept;
    bool is_closed = false;
    do {
      ssize_t got = ReadSome(connection, buffer_.data() + filled, buffer_.size() - filled);
      is_more = got > 0 && connection.ssl != nullptr;
      if (got > 0 && options_.websocket) got = connection.frames.Take(buffer_.data() + filled, static_cast<size_t>(got));
      is_closed = got < 0;
      if (got > 0) filled += static_cast<size_t>(got);
    } while (is_more && filled < buffer_.size());
    size_t used = 0;
    if (!Take(index, std::span(buffer_.data(), filled), used, handler)) return;
    connection.partial.assign(reinterpret_cast<const char*>(buffer_.data()) + used, filled - used);
    if (is_closed) return Fail(index, "the peer closed the connection", &handler);
  }
}

// Hands out the whole packets; false when the connection was closed meanwhile.
bool Fleet::Take(uint32_t index, std::span<const uint8_t> bytes, size_t& used, Handler& handler) {
  Connection& connection = connections_[index];
  Packet packet{};
  size_t packet_size = 0;
  bool is_any = false;
  for (;;) {
    const Framing framing = NextPacket(bytes.subspan(used), packet, packet_size);
    if (framing == Framing::kMalformed) {
      Fail(index, "the peer sent a malformed packet", &handler);
      return false;
    }
    if (framing == Framing::kIncomplete) break;
    used += packet_size;
    if (connection.stage == Stage::kAwaitConnack) {
      if (packet.type() != kConnack || packet.body.size() < 2 || packet.body[1] != 0) {
        Fail(index, "CONNECT was refused with code " + std::to_string(packet.body.size() < 2 ? -1 : packet.body[1]), &handler);
        return false;
      }
      connection.stage = Stage::kReady;
      handler.OnReady(index);
    } else {
      handler.OnPacket(index, packet);
      is_any = true;
    }
    if (connection.fd < 0) return false;
  }
  if (is_any) handler.OnReadEnd(index);
  return connection.fd >= 0;
}

}  // namespace load

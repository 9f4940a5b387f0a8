// Clients that behave badly, to be run beside a healthy one whose latency is measured. What the target does to them
// (closes, refuses, drops) is counted, not judged; only what would hurt an honest client is an error.
// Thread safety: one object a thread.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "clock.h"
#include "fleet.h"
#include "mode.h"
#include "payload.h"

namespace load {
namespace {

// A plain socket, closed with its owner.
class Socket {
 public:
  Socket() = default;
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Socket(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }

  // Connects with a blocking call, from one of 16 source addresses in turn.
  [[nodiscard]] bool Connect(const Options& options, uint32_t number) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % 16);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options.port);
    inet_pton(AF_INET, options.host.c_str(), &address.sin_addr);
    const int on = 1;
    setsockopt(fd_, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &on, sizeof on);
    const timeval limit{static_cast<time_t>(options.deadline), 0};
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd_ >= 0 && bind(fd_, reinterpret_cast<sockaddr*>(&source), sizeof source) == 0 && connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  [[nodiscard]] bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  void ResetOnClose() {
    const linger at_once{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }

  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

// The first bytes of a handshake that never ends: of TLS on a TLS port, else of MQTT.
std::string Opening(const Options& options) {
  if (options.tls) return std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(500, '\x55');
  return EncodeConnect("never-finished-" + std::string(200, 'x'), options.version, 60);
}

// Each of its connections sends one more byte a second, until the target has had enough.
class SlowLoris : public Mode {
 public:
  SlowLoris(const Options& options, Share share) : options_(options), share_(share), opening_(Opening(options)) {}

  bool Setup() override {
    for (uint32_t number = 0; number < share_.count; number++) {
      Socket socket;
      if (!socket.Connect(options_, number)) {
        counts_.refused++;
        continue;
      }
      sockets_.push_back(std::move(socket));
    }
    return true;
  }

  void Run(double seconds) override {
    const uint64_t end = NowNs() + SecondsToNs(seconds);
    while (NowNs() < end) {
      for (Socket& socket : sockets_) {
        if (socket.fd() < 0) continue;
        const bool is_taken = socket.Send(opening_.substr(sent_ % (opening_.size() - 1), 1));
        pollfd readable{socket.fd(), POLLIN, 0};
        if (is_taken && poll(&readable, 1, 0) == 0) {
          counts_.messages++;
        } else {
          counts_.refused++;
          socket = Socket();
        }
      }
      sent_++;
      const uint64_t now = NowNs();
      if (now < end) poll(nullptr, 0, static_cast<int>(std::min(end - now, kSecond) / kMillisecond) + 1);
    }
  }

 private:
  const Options& options_;
  const Share share_;
  const std::string opening_;
  std::vector<Socket> sockets_;
  size_t sent_ = 0;
};

// Connects, sends a part of CONNECT (none, some, all) and resets, as fast as it goes.
class Reset : public Mode {
 public:
  Reset(const Options& options, Share) : options_(options), opening_(Opening(options)) {}

  bool Setup() override { return true; }

  void Run(double) override {
    for (uint32_t number = 0; number < options_.count / options_.threads; number++) {
      Socket socket;
      if (!socket.Connect(options_, number) || !socket.Send(std::string_view(opening_).substr(0, number % (opening_.size() + 1)))) {
        counts_.refused++;
        continue;
      }
      socket.ResetOnClose();
      counts_.messages++;
    }
  }

 private:
  const Options& options_;
  const std::string opening_;
};

// Connection 0 publishes to what all others subscribed to and do not read.
class NeverRead : public Mode, private Handler {
 public:
  NeverRead(const Options& options, Share share) : options_(options), fleet_(options, share.count + 1, share.first + share.first / std::max(1U, share.count)) {}

  bool Setup() override {
    if (fleet_.ConnectAll(*this) > 0) {
      counts_.Error("connections did not come up: " + fleet_.last_reason());
      return false;
    }
    for (uint32_t index = 1; index < fleet_.size(); index++) {
      if (!fleet_.Subscribe(index, options_.topic + "/never-read", options_.qos)) {
        counts_.Error("a subscription was refused");
        return false;
      }
      fleet_.StopReading(index);
    }
    return true;
  }

  void Run(double seconds) override {
    const PublishTemplate publish = EncodePublish(options_.topic + "/never-read", options_.payload_size, 0, options_.version);
    const uint64_t begin = NowNs();
    const uint64_t end = begin + SecondsToNs(seconds);
    const double period = static_cast<double>(kSecond) / std::max(1.0, options_.rate);
    uint64_t due = begin;
    uint64_t count = 0;
    for (uint64_t now = begin; now < end; now = NowNs()) {
      for (; due <= now; due = begin + static_cast<uint64_t>(static_cast<double>(++count) * period)) {
        if (!fleet_.IsReady(0) || fleet_.IsBlocked(0)) continue;
        fleet_.Write(0, publish.bytes);
        counts_.messages++;
      }
      fleet_.Poll(std::min(due, end) - now, *this);
    }
  }

 private:
  void OnPacket(uint32_t, const Packet&) override {}
  void OnClosed(uint32_t index, const std::string& reason) override {
    if (index == 0) counts_.Error("the publisher beside them was closed: " + reason);
    counts_.refused++;
  }

  const Options& options_;
  Fleet fleet_;
};

// A small client as many are: it writes by blocking calls and reads when it has written. A target that stops reading
// from it until it reads would hang with it for ever. Speaks TCP only.
class Blocking : public Mode {
 public:
  Blocking(const Options& options, Share) : options_(options), topic_(options.topic + "/blocking") {}

  bool Setup() override {
    const bool is_open = socket_.Connect(options_, 0) && socket_.Send(EncodeConnect(options_.client + "-blocking", options_.version, 0)) && ReadUntil(kConnack) &&
                         socket_.Send(EncodeSubscribe(topic_, options_.qos, options_.version)) && ReadUntil(kSuback);
    if (!is_open) counts_.Error("the blocking client was not let in");
    return is_open;
  }

  void Run(double) override {
    if (is_over_) return;
    PublishTemplate publish = EncodePublish(topic_, options_.payload_size, options_.qos, options_.version);
    for (uint32_t number = 0; number < options_.count; number++) {
      if (publish.packet_id_at > 0) WriteU16(reinterpret_cast<uint8_t*>(publish.bytes.data()) + publish.packet_id_at, static_cast<uint16_t>(number % 65535 + 1));
      if (!socket_.Send(publish.bytes)) return End(std::string("a write did not get through: ") + std::strerror(errno));
      counts_.messages++;
    }
    if (!socket_.Send(kPingreqBytes) || !ReadUntil(kPingresp)) return End("the answers did not come");
    // Deliveries may follow the PINGRESP; what QoS 0 drops at a full queue is the target's right.
    const uint64_t deadline = NowNs() + 2 * kSecond;
    while (counts_.deliveries < counts_.messages && NowNs() < deadline) {
      pollfd readable{socket_.fd(), POLLIN, 0};
      if (poll(&readable, 1, 500) <= 0 || !ReadMore()) break;
    }
    counts_.lost += counts_.messages - std::min(counts_.messages, counts_.deliveries);
  }

 private:
  void End(const std::string& reason) {
    counts_.Error(reason);
    is_over_ = true;
  }

  bool ReadUntil(PacketType wanted) {
    last_type_ = 0;
    while (last_type_ != wanted) {
      if (!ReadMore(wanted)) return false;
    }
    return true;
  }

  // One recv; handles whole packets, up to and with the first of the wanted type.
  bool ReadMore(uint8_t wanted = 0) {
    char bytes[65536];
    const ssize_t got = recv(socket_.fd(), bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    received_.append(bytes, static_cast<size_t>(got));
    size_t used = 0;
    size_t size = 0;
    Packet packet{};
    std::string replies;
    while (NextPacket(std::span(reinterpret_cast<const uint8_t*>(received_.data()) + used, received_.size() - used), packet, size) == Framing::kWhole) {
      used += size;
      if (last_type_ != wanted || wanted == 0) last_type_ = packet.type();
      Handle(packet, replies);
    }
    received_.erase(0, used);
    return replies.empty() || socket_.Send(replies);
  }

  void Handle(const Packet& packet, std::string& replies) {
    uint16_t packet_id = 0;
    std::span<const uint8_t> payload;
    if (packet.type() == kPuback || packet.type() == kPubcomp) counts_.acknowledged++;
    if (packet.type() == kPubrec) AppendAck(replies, kPubrel, ReadU16(packet.body.data()));
    if (packet.type() == kPubrel) AppendAck(replies, kPubcomp, ReadU16(packet.body.data()));
    if (packet.type() != kPublish || !ReadPublish(packet, options_.version, packet_id, payload)) return;
    counts_.deliveries++;
    if (packet_id > 0) AppendAck(replies, packet.qos() == 1 ? kPuback : kPubrec, packet_id);
  }

  const Options& options_;
  const std::string topic_;
  Socket socket_;
  std::string received_;
  uint8_t last_type_ = 0;
  bool is_over_ = false;
};

}  // namespace

std::unique_ptr<Mode> MakeBadClient(const Options& options, Share share) {
  if (options.mode == "slow-loris") return std::make_unique<SlowLoris>(options, share);
  if (options.mode == "reset") return std::make_unique<Reset>(options, share);
  if (options.mode == "never-read") return std::make_unique<NeverRead>(options, share);
  return std::make_unique<Blocking>(options, share);
}

}  // namespace load

// The connections of one thread: opened a few at a time up to CONNACK, then read and written through one epoll.
// Thread safety: one thread.
// Invariants:
//   (1) A connection is addressed by its index, which never changes; its epoll data is that index.
//   (2) Bytes that a socket did not take wait in `unsent`, in order; EPOLLOUT is asked for exactly while there are some
//       (or the TCP connect or TLS handshake waits for it).
// Ownership: the fleet owns sockets, SSLs and buffers. Packets given to a handler are valid during the call only.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "clock.h"
#include "options.h"
#include "tls.h"
#include "websocket.h"
#include "wire.h"

namespace load {

enum class Stage : uint8_t { kUnused, kConnecting, kHandshake, kAwaitUpgrade, kAwaitConnack, kReady, kClosed };

struct Connection {
  int fd = -1;
  Stage stage = Stage::kUnused;
  uint32_t interest = 0;
  SslPointer ssl;
  FrameReader frames;  // of a WebSocket
  std::string unsent;
  std::string partial;  // the beginning of a packet whose end has not arrived
  uint64_t opened_at = 0;
};

// What a mode does with what arrives.
class Handler {
 public:
  virtual ~Handler() = default;
  virtual void OnPacket(uint32_t index, const Packet& packet) = 0;
  // All packets of one read were handed over: the moment to write what they asked for.
  virtual void OnReadEnd(uint32_t) {}
  virtual void OnReady(uint32_t) {}
  // The peer closed, or an error; the socket is closed already.
  virtual void OnClosed(uint32_t, const std::string&) {}
};

class Fleet {
 public:
  // `first_client` is the number of the first client id, so that threads do not share ids.
  Fleet(const Options& options, uint32_t count, uint32_t first_client);
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  // Opens all connections, a few at a time, and waits for their CONNACKs. Returns how many did not get there in time.
  uint32_t ConnectAll(Handler& handler);
  // Subscribes connection `index` and waits for SUBACK; false when it was refused or too late.
  bool Subscribe(uint32_t index, std::string_view filter, uint32_t qos);

  // Begins one connection (again).
  void Open(uint32_t index);
  // `reset` sends RST in place of FIN.
  void Close(uint32_t index, bool reset = false);

  // From now on nothing is read from this connection.
  void StopReading(uint32_t index) { SetInterest(index, 0); }

  // Writes now what the socket takes, and keeps the rest; on a WebSocket, in one frame. Writing to a closed connection does nothing.
  void Write(uint32_t index, std::string_view bytes);
  [[nodiscard]] bool IsBlocked(uint32_t index) const { return !connections_[index].unsent.empty(); }
  [[nodiscard]] bool IsReady(uint32_t index) const { return connections_[index].stage == Stage::kReady; }
  [[nodiscard]] uint32_t size() const { return static_cast<uint32_t>(connections_.size()); }
  [[nodiscard]] uint64_t opened_at(uint32_t index) const { return connections_[index].opened_at; }
  [[nodiscard]] bool WasResumed(uint32_t index) const;

  // Waits up to so long for events and handles them.
  void Poll(uint64_t timeout_ns, Handler& handler);
  // Polls until `done` or the deadline (a time, not a duration); says whether it was done.
  bool PollUntil(const std::function<bool()>& done, uint64_t deadline, Handler& handler);

  // Why the last connection was closed, for messages.
  [[nodiscard]] const std::string& last_reason() const { return last_reason_; }

 private:
  void Step(uint32_t index, uint32_t events, Handler& handler);
  void Handshake(uint32_t index, Handler& handler);
  void BeginProtocol(uint32_t index);
  void AwaitUpgrade(uint32_t index, Handler& handler);
  void SendConnect(uint32_t index);
  void Send(uint32_t index, std::string_view bytes);
  void Flush(uint32_t index);
  void Receive(uint32_t index, Handler& handler);
  // Bytes read, 0 for "nothing now", -1 for "closed".
  ssize_t ReadSome(Connection& connection, uint8_t* to, size_t size);
  // Bytes taken, 0 for "not now", -1 for "closed".
  ssize_t WriteSome(Connection& connection, std::string_view bytes);
  bool Take(uint32_t index, std::span<const uint8_t> bytes, size_t& used, Handler& handler);
  void SetInterest(uint32_t index, uint32_t interest);
  void Fail(uint32_t index, const std::string& reason, Handler* handler);

  const Options& options_;
  const uint32_t first_client_;
  const uint32_t sources_;
  int epoll_ = -1;
  std::unique_ptr<TlsClient> tls_;
  std::vector<Connection> connections_;
  std::vector<epoll_event> events_;
  std::vector<uint8_t> buffer_;
  std::string frame_;
  std::vector<std::pair<uint32_t, std::string>> failed_;  // found while writing; told to the handler by the next Poll
  uint32_t opens_ = 0;
  std::string last_reason_;
};

}  // namespace load

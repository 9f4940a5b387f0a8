// The bytes' way between the sockets of one shard and its JavaScript: recv into the inbound ring, frames, one call per batch, commands,
// one send per connection and turn. Knows nothing of Node or libuv: a ReactorHost calls it and is called by it. Hot path.
//
//   sockets_fd ready ──> recv … recv ──> Publish ──> host.OnBatch ──> RunCommands ──> send … send ──> (what that gave rise to: again)
//   control_fd ready ──> doorbell, new connections, EPOLLOUT, deadlines ─────^
//
// Thread safety: the shard's thread alone, but for what goes through DoorbellTable and InboxTable.
// Invariants:
//   (1) The inbound ring is not written between OnBatch and the end of the sends: commands point into it. What a command gives rise to
//       (frames after ACCEPT, CLOSED, PRESSED) is noted and emitted afterwards.
//   (2) Segments point into command memory or the inbound ring and live until the end of RunCommands; then they are sent or copied. Those
//       that a send makes itself (PrependHeader, SendWaiting) point into header_, or into a PacketQueue that its connection has let go of,
//       and mean nothing when it returns.
//   (3) Whatever emits is followed by publish and OnBatch: no record waits for an unrelated event.
// Ownership: owns its connections and epoll sets; ring, commands and counters belong to the host, which keeps them mapped.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "commands.h"
#include "connection.h"
#include "fd.h"
#include "framer.h"
#include "handoff.h"
#include "moderator.h"
#include "ring.h"
#include "timer_wheel.h"

namespace penstock {

class PeerTrust;

class ReactorHost {
 public:
  // JavaScript's part of a batch; `command_size` = bytes of commands it wrote. False: it failed, the reactor stops.
  virtual bool OnBatch(uint32_t& command_size) = 0;
  // Whether sockets_fd is to be watched (not while reading is paused or the ring is full).
  virtual void WatchSockets(bool is_wanted) = 0;
  // Wants Reactor::OnLater soon, from the loop.
  virtual void CallLater() = 0;
  // JavaScript wrote commands that are none; the reactor has stopped.
  virtual void OnBadCommands() = 0;
  // After Drain: no connection is left.
  virtual void OnDrained() = 0;

 protected:
  ~ReactorHost() = default;
};

struct ReactorConfig {
  uint32_t shard = 0;
  RingMemory inbound;
  std::span<uint8_t> commands;  // 8-aligned
  double* counters = nullptr;   // REACTOR_COUNTER_COUNT
  uint32_t frame_size_max = 0;
  bool is_moderated = false;    // wake: "throughput"
};

class Reactor {
 public:
  // Null (errno says why) when the kernel refuses a descriptor.
  [[nodiscard]] static std::unique_ptr<Reactor> Create(const ReactorConfig& config, ReactorHost& host);
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  [[nodiscard]] int sockets_fd() const { return sockets_.get(); }
  [[nodiscard]] int control_fd() const { return control_.get(); }

  void OnSocketsReady();
  void OnControlReady();
  void OnLater();

  // Inside OnBatch: runs `size` bytes of commands at once, sends included. False when they are malformed.
  [[nodiscard]] bool Flush(uint32_t size);
  void PauseAll();
  void ResumeAll();
  // Closes all connections, after one more batch whose commands still go out; OnDrained when none is left.
  void Drain(uint32_t reason, uint32_t linger_ms);
  // Why the certificate that a connection's peer showed is not accepted; empty when it is, or the connection is gone.
  [[nodiscard]] std::string PeerFault(uint32_t id, const PeerTrust& trust);
  // Closes everything at once and tells nobody. May be called inside OnBatch.
  void Stop();
  [[nodiscard]] bool is_stopped() const { return is_stopped_; }
  [[nodiscard]] bool is_in_batch() const { return is_in_batch_; }

  // The largest frame that a ring of this capacity can take beside others.
  static constexpr uint32_t FrameSizeLimit(uint32_t capacity) { return capacity / 4 < RECORD_LENGTH_MAX ? capacity / 4 : RECORD_LENGTH_MAX; }

 private:
  struct Segment {
    const uint8_t* at;
    uint32_t size;
    uint32_t next;  // index; kNoSegment at the end
  };
  struct Notice {
    uint32_t kind;
    uint32_t id;
    uint32_t reason;
  };
  // Ciphertext of one TLS call.
  struct CipherBuffer final : CipherSink {
    void Append(std::span<const uint8_t> more) override { bytes.insert(bytes.end(), more.begin(), more.end()); }
    std::vector<uint8_t> bytes;
  };
  enum class Received : uint8_t { kDone, kRingFull };
  enum class DrainState : uint8_t { kNone, kAsked, kClosing, kDone };

  Reactor(const ReactorConfig& config, ReactorHost& host);
  [[nodiscard]] bool Open();

  // reactor.cc: turns and batches
  bool ReadSockets(uint32_t& batch);
  bool RunBatch(bool is_forced);
  bool CallHost();
  void FinishTurn();
  void Emit();
  void ModerateWait();
  void UpdateWatch();
  void ArmTimer();
  void RunTimers();
  [[nodiscard]] bool MayRead() const { return !is_paused_ && !is_full_ && !is_stopped_; }

  // reactor_input.cc: sockets -> ring
  Received Receive(Connection& connection, uint32_t events);
  Received ReceivePlain(Connection& connection);
  Received ReceiveTls(Connection& connection);
  void ReceiveLarge(Connection& connection);
  TlsResult Decrypt(Connection& connection, std::span<const uint8_t> cipher, std::span<uint8_t> plain, size_t& count);
  void EndOfTls(Connection& connection, TlsResult result);
  void Delimit(Connection& connection, const uint8_t* bytes, size_t held, size_t fresh);
  void Fault(Connection& connection, FrameFault fault);
  bool DeliverPartial(Connection& connection);
  bool DeliverBacklog(Connection& connection);
  void AddToBacklog(Connection& connection);
  void EndOfInput(Connection& connection, ssize_t result);
  void Discard(Connection& connection);
  void SetPolling(Connection& connection, bool is_wanted);
  void ResumeReading(Connection& connection);

  // reactor_websocket.cc: frames around both ways
  [[nodiscard]] bool Unframe(Connection& connection, uint8_t* bytes, size_t& count);
  void EndOfWebSocket(Connection& connection);
  [[nodiscard]] uint32_t PrependHeader(uint32_t first, uint32_t& total);
  void SendControl(Connection& connection, std::span<const uint8_t> frame);
  void SayGoodbye(Connection& connection);

  // reactor_output.cc: commands -> sockets
  [[nodiscard]] bool RunCommands(uint32_t size);
  void RunCommand(const Command& command);
  void RunMulticast(const Command& command);
  void RunMulticastPatched(const Command& command);
  void QueueSegment(Connection& connection, std::span<const uint8_t> bytes);
  [[nodiscard]] bool MakeRoom(Connection& connection, size_t size);
  void LinkSegment(Connection& connection, std::span<const uint8_t> bytes);
  void QueueDroppable(Connection& connection, std::span<const uint8_t> bytes);
  void SendSegments(Connection& connection);
  void Transmit(Connection& connection, uint32_t segment, uint32_t total);
  void KeepWaiting(Connection& connection, std::span<const uint8_t> bytes, bool is_droppable);
  void SendWaiting(Connection& connection, bool is_all);
  void Shed(Connection& connection, size_t room);
  void Press(Connection& connection);
  void SendMany(Connection& connection, uint32_t segment);
  void SendEncrypted(Connection& connection, uint32_t segment, uint32_t total);
  void SendCipher(Connection& connection);
  void SendRaw(Connection& connection, std::span<const uint8_t> bytes);
  void AppendOverflow(Connection& connection, std::span<const uint8_t> bytes);
  void CheckMarks(Connection& connection);
  void Writable(Connection& connection);
  [[nodiscard]] size_t DeliveryMark() const { return overflow_total_ > OVERFLOW_SHARD_MARK ? 0 : OVERFLOW_DELIVERY_MARK; }
  [[nodiscard]] size_t HardMark() const { return overflow_total_ > OVERFLOW_SHARD_MARK ? OVERFLOW_DELIVERY_MARK : OVERFLOW_HARD_MARK; }

  // reactor_connections.cc: birth and death
  void AdoptWaiting();
  bool Adopt(Handoff& handoff);
  void BeginClose(Connection& connection, uint32_t reason, uint64_t linger_until);
  void SettleFlushing();
  void FinishFlush(Connection& connection);
  void Close(Connection& connection, uint32_t reason);
  void Detach(Connection& connection);
  void Migrate(Connection& connection, const Command& command);
  void ArmDeadline(Connection& connection);
  void OnDue(Connection& connection);
  [[nodiscard]] uint64_t DeadlineOf(const Connection& connection) const;
  void Accept(Connection& connection);
  void Free(Connection& connection);
  void BeginDrain();

  void Count(uint32_t counter, double more = 1) {
    std::atomic_ref<double> value(counters_[counter]);
    value.store(value.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  }
  void SetGauge(uint32_t counter, double value) { std::atomic_ref<double>(counters_[counter]).store(value, std::memory_order_relaxed); }

  ReactorHost& host_;
  const uint32_t shard_;
  RingWriter inbound_;
  const std::span<uint8_t> commands_;
  double* const counters_;
  const uint32_t frame_size_max_;
  const bool is_moderated_;

  UniqueFd sockets_;  // EPOLLIN of all connections
  UniqueFd control_;  // wake_, timer_, and EPOLLOUT of connections whose overflow is not empty: served while reading is paused
  UniqueFd wake_;     // eventfd: doorbell and inbox
  UniqueFd timer_;
  std::atomic<bool> is_rung_{false};
  uint64_t doorbell_ticket_ = 0;

  ConnectionTable connections_;
  TimerWheel wheel_;
  Moderator moderator_;
  uint64_t now_;                // monotonic ms, taken once per turn
  uint64_t timer_armed_at_ = 0; // 0 = not armed
  uint64_t resumed_at_ = 0;     // when reading of all went on again: nobody was silent before that

  std::vector<Segment> segments_;
  std::vector<Connection*> dirty_;
  std::vector<Connection*> settling_;
  std::vector<Connection*> backlog_;
  std::deque<Handoff> adopting_;
  std::deque<Notice> notices_;
  std::vector<uint8_t> scratch_;
  CipherBuffer cipher_;
  std::vector<uint8_t> pong_;
  WebSocketHeader header_;  // of the frame that is being sent

  size_t overflow_total_ = 0;
  uint32_t open_count_ = 0;
  bool is_in_batch_ = false;
  bool is_paused_ = false;
  bool is_full_ = false;
  bool is_watching_ = true;
  DrainState drain_ = DrainState::kNone;
  uint32_t drain_reason_ = 0;
  uint32_t drain_linger_ms_ = 0;
  bool is_stopped_ = false;
};

// How far the receive paths reach at once.
inline constexpr size_t kLargeReadSize = 64 * 1024;
inline constexpr size_t kTlsRecordMax = 17 * 1024;  // plaintext that a TLS record already buffered inside the SSL can add to a read
inline constexpr uint32_t kNoSegment = UINT32_MAX;

[[nodiscard]] uint64_t MonotonicMs();

}  // namespace penstock

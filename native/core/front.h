// The thin acceptor: one native thread without JavaScript that accepts on all listeners, does TLS handshakes, reads the first frame,
// and hands the live connection to the shard that owns its client id.
//
//   accept4 --> handshaking_ --> awaiting_frame_ --> InboxTable::Push(shard of the client id)
//          TLS             plain or TLS done      whole first frame
//
// On a WebSocket listener the first frame lies inside WebSocket frames, behind an HTTP request (front_websocket.cc); the deadline is one
// for all of it.
//
// Thread safety: constructor, Start, Stop, BoundPort and destructor on one thread (main's); the loop runs on the front's own thread and
// shares with main only the context table (locked), `is_stopping_` and the counters (one writer). `on_refused` is called on the front's
// thread and must not block; it returns false when it has no room for another one.
// Invariants:
//   (1) Every pending connection is in exactly one of the two lists; each list is ordered by deadline, for all in it have the same span.
//   (2) A pending connection has at most kUnsentMax bytes of ciphertext and first_frame_size_max + kReadSize of plain bytes in memory.
//   (3) One turn does at most kEventsPerTurn steps of handshakes and frames, then accepts: pending connections go first, and when a turn
//       was full few are accepted, so that a storm waits in the kernel's queue and not in ours.
// Ownership: a Pending owns fd, TLS state and census ticket until all of them move into the Handoff.
#pragma once
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "census.h"
#include "client_id.h"
#include "handoff.h"
#include "http_upgrade.h"
#include "tls_context.h"
#include "tls_stream.h"
#include "fd.h"
#include "unix_socket.h"
#include "websocket.h"

namespace penstock {

enum class ListenerProtocol : uint8_t { kMqtt, kLine, kWebSocket };

// See ListenerOptions and FrontOptions in src/reactor/reactor.ts.
struct FrontListener {
  std::string name;
  std::string host;
  uint16_t port = 0;
  std::string context;  // empty: plain TCP
  ListenerProtocol protocol = ListenerProtocol::kMqtt;
  std::string path{};  // not empty: a Unix socket there, and no host or port
  mode_t mode = 0;   // of the Unix socket
  OriginRules origins{};
  bool is_behind_proxy = false;  // a loopback address says nothing about the client
};

struct FrontOptions {
  std::vector<FrontListener> listeners;
  uint32_t shards = 1;
  uint64_t handshake_deadline_ms = 10'000;
  uint64_t first_frame_deadline_ms = 10'000;
  size_t pending_max = 1000;
  size_t per_address_max = 1000;
  size_t connections_max = 10'000;
  size_t first_frame_size_max = 16'384;
};

struct Refusal {
  uint32_t listener = 0;
  std::string peer;
  const char* reason = "";  // a stable word, the name of its counter
  std::string detail;
};

class Front {
 public:
  // Binds. `counters` holds FRONT_COUNTER_COUNT numbers and outlives the Front.
  Front(FrontOptions options, double* counters, std::function<bool(Refusal)> on_refused);
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  TlsContextTable& contexts() { return contexts_; }
  // The port of listener `index`; 0 when it could not be had, and `error` says why ("EADDRINUSE").
  [[nodiscard]] uint16_t BoundPort(size_t index, std::string& error) const;
  // Starts the thread. Returns what is missing ("listener mqtts: there is no secure context device"), or an empty text.
  [[nodiscard]] std::string Start();
  // Joins the thread, closes what is pending and the listening sockets. Idempotent.
  void Stop();

 private:
  enum class SourceKind : uint8_t { kWake, kListener, kPending };
  struct Source {
    SourceKind kind;
  };
  struct Listener : Source {
    FrontListener options;
    UniqueFd fd;
    uint32_t index = 0;
    SocketPath place;
    uint16_t port = 0;
    std::string error;
    uint64_t paused_until_ms = 0;  // 0 = accepting
    bool is_ready = false;         // inside a turn: epoll named it
  };
  struct Pending : Source {
    UniqueFd fd;
    std::unique_ptr<TlsStream> tls;
    CensusTicket ticket;
    const Listener* listener = nullptr;
    sockaddr_storage peer{};
    uint64_t deadline_ms = 0;
    bool has_begun = false;        // TLS: its first byte was seen and is that of a handshake
    bool is_in_handshake = false;  // says which list it is in
    std::vector<uint8_t> unsent;
    std::vector<uint8_t> bytes;  // decrypted; on a WebSocket the first `decoded_size` of them are the stream inside the frames
    std::unique_ptr<WebSocket> websocket;  // after the upgrade
    size_t decoded_size = 0;
    size_t searched_size = 0;  // of the HTTP request
    bool is_direct = true;     // a loopback address speaks for the client itself
    std::list<Pending>::iterator self;
  };
  // Collects the ciphertext of one step; sent by Flush.
  class Outbox final : public CipherSink {
   public:
    void Append(std::span<const uint8_t> bytes) override { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
    std::vector<uint8_t>& bytes() { return bytes_; }

   private:
    std::vector<uint8_t> bytes_;
  };
  enum class Step : uint8_t { kStay, kGone };

  void Run();
  void Turn(std::span<const epoll_event> ready, size_t accept_budget);
  [[nodiscard]] int TimeoutMs() const;
  void ExpireDeadlines();
  void ResumeListeners();

  void AcceptFrom(Listener& listener, size_t budget);
  void Admit(Listener& listener, UniqueFd fd, const sockaddr_storage& peer);
  [[nodiscard]] bool RefuseWithReserve(Listener& listener);
  void PauseListener(Listener& listener);

  void OnPendingEvent(Pending& pending, uint32_t events);
  [[nodiscard]] Step OnCipher(Pending& pending, std::span<const uint8_t> cipher);
  [[nodiscard]] Step OnHandshakeDone(Pending& pending);
  void OnTlsFailed(Pending& pending);
  [[nodiscard]] Step OnFrameBytes(Pending& pending);
  void HandOver(Pending& pending, size_t frame_size);
  [[nodiscard]] Step OnWebSocketBytes(Pending& pending);
  [[nodiscard]] Step OnUpgradeBytes(Pending& pending);
  [[nodiscard]] Step OnWebSocketEnd(Pending& pending);
  void AppendPlain(Pending& pending, std::span<const uint8_t> bytes);
  [[nodiscard]] bool PushToAnyShard(Handoff& handoff);
  [[nodiscard]] bool Flush(Pending& pending);
  [[nodiscard]] bool Watch(int operation, int fd, uint32_t events, Source* source);

  void SayGoodbye(Pending& pending);
  void Refuse(Pending& pending, uint32_t counter, const char* reason, std::string detail);
  void Report(const Listener& listener, const sockaddr_storage& peer, const char* reason, std::string detail);
  void Discard(Pending& pending);
  void Count(uint32_t counter, double by = 1);
  void CountPending();

  static constexpr size_t kEventsPerTurn = 64;
  static constexpr size_t kReadSize = 16 * 1024;
  static constexpr size_t kUnsentMax = 64 * 1024;

  const FrontOptions options_;
  double* const counters_;
  const std::function<bool(Refusal)> on_refused_;
  TlsContextTable contexts_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  UniqueFd epoll_;
  UniqueFd wake_;
  UniqueFd reserve_;  // given up for a moment when descriptors run out, so that a connection can be accepted and closed
  Source wake_source_{SourceKind::kWake};
  std::list<Pending> handshaking_;
  std::list<Pending> awaiting_frame_;
  std::array<uint8_t, kReadSize> scratch_{};
  std::array<uint8_t, kReadSize> plain_{};
  Outbox outbox_;
  uint64_t now_ms_ = 0;
  uint32_t next_shard_ = 0;
  double report_tokens_ = 0;
  uint64_t report_tokens_at_ms_ = 0;
  std::atomic<bool> is_stopping_ = false;
  std::thread thread_;
};

}  // namespace penstock

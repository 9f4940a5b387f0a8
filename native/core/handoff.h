// How a live connection moves between native threads: front -> shard, shard -> shard.
// Thread safety: an Inbox may be pushed to from any thread and is drained by the one reactor that owns it.
// Ownership: a Handoff owns its fd and its TLS state; whoever holds the Handoff closes them (destructor) or takes them.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "census.h"
#include "tls_stream.h"
#include "websocket.h"

namespace penstock {

struct Handoff {
  int fd = -1;
  std::unique_ptr<TlsStream> tls;  // null for plain TCP
  uint16_t listener = 0;
  uint8_t framing = 0;             // layout.h FRAMING_*
  std::string opened_json;         // bytes of the OPENED record (src/reactor/reactor.ts ConnectionOpened)
  std::unique_ptr<WebSocket> websocket;  // null when the bytes do not come in WebSocket frames
  std::vector<uint8_t> bytes;      // decrypted and unmasked bytes read so far, the first frame first; may hold more frames or a part of one
  std::vector<uint8_t> unsent;     // what the peer's kernel has not taken yet (ciphertext under TLS); the adopter sends it first
  CensusTicket ticket;             // the connection's place in the census; its owner keeps it until the connection ends

  Handoff() = default;
  Handoff(Handoff&& other) noexcept;
  Handoff& operator=(Handoff&& other) noexcept;
  Handoff(const Handoff&) = delete;
  Handoff& operator=(const Handoff&) = delete;
  ~Handoff();  // closes the fd if it is still held
};

// The process-wide table of reactors, one Inbox per shard. A shard that starts opens its Inbox, one that ends closes it; what is
// still inside is closed then. All functions may be called from any thread.
class InboxTable {
 public:
  static InboxTable& Instance();
  // `wake` is called, from any thread, after a push to an empty inbox (it writes an eventfd or calls uv_async_send).
  void Open(uint32_t shard, std::function<void()> wake);
  void Close(uint32_t shard);
  // Returns false, leaving `handoff` untouched, when the shard is down or its inbox holds kInboxCountMax.
  [[nodiscard]] bool Push(uint32_t shard, Handoff& handoff);
  // Moves everything pushed so far to the caller (the owner).
  [[nodiscard]] std::vector<Handoff> Drain(uint32_t shard);
  static constexpr size_t kInboxCountMax = 16384;
};

}  // namespace penstock

// One connection of a reactor, and the table that ids lead to.
//
//   adopted ──first frame──> held ──ACCEPT──> open ──CLOSE, FIN──> flushing ──all sent──> lingering ──peer's FIN──> closed ──FREE──> free
//                                              └────reset, fault, deadline, MIGRATE────────────────────────────────────^
//
// Thread safety: the reactor's thread alone.
// Invariants: an id names one connection for ever: slot in the low bits, above it a generation that grows with each use of the slot; a
// slot is used again only after JavaScript said FREE. `fd` is open exactly in the states open, flushing and lingering.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "byte_queue.h"
#include "census.h"
#include "fd.h"
#include "layout.h"
#include "packet_queue.h"
#include "timer_wheel.h"
#include "tls_stream.h"
#include "websocket.h"

namespace penstock {

enum class ConnectionState : uint8_t {
  kFree,
  kOpen,
  kFlushing,   // sends what is queued, reads nothing, then goes on to lingering (bounded by linger_until)
  kLingering,  // our FIN is out; what the peer still sends is dropped until its FIN, since closing over unread bytes would reset the
               // connection and could destroy our last reply on its way
  kClosed,     // CLOSED is told or about to be; waits for FREE
};

namespace flag {
inline constexpr uint16_t kHoldAfterFirst = 1;  // the first frame has not been delivered yet; after it comes the hold
inline constexpr uint16_t kHeld = 2;            // waits for ACCEPT
inline constexpr uint16_t kPaused = 4;          // COMMAND.PAUSE
inline constexpr uint16_t kReadStopped = 8;     // its overflow passed the read-stop mark
inline constexpr uint16_t kPressed = 16;        // PRESSED was told
inline constexpr uint16_t kBacklogged = 32;     // in the backlog: whole frames or decrypted bytes wait for the ring
inline constexpr uint16_t kPollsIn = 64;        // EPOLLIN is on
inline constexpr uint16_t kPollsOut = 128;      // registered for EPOLLOUT
inline constexpr uint16_t kDirty = 256;         // in the list of connections that have segments
inline constexpr uint16_t kPeerFinished = 512;  // the peer's FIN or close_notify came
inline constexpr uint16_t kNotified = 1024;     // our Close frame and close_notify are queued
inline constexpr uint16_t kSettling = 2048;     // in the list of flushing connections to look at
inline constexpr uint16_t kStreamEnded = 4096;  // the stream inside the WebSocket is over, by Close or by a fault; the FIN follows ours
// Any of these: do not read.
inline constexpr uint16_t kUnreadable = kHeld | kPaused | kReadStopped | kBacklogged;
}  // namespace flag

struct Connection : TimerNode {
  // What every outbound command touches stands together.
  uint32_t id = 0;
  ConnectionState state = ConnectionState::kFree;
  uint8_t framing = 0;
  uint16_t flags = 0;
  uint32_t first_segment = 0;
  uint32_t last_segment = 0;
  uint32_t queued = 0;  // bytes in segments
  UniqueFd fd;
  ByteQueue overflow;  // what the kernel did not take (ciphertext under TLS)
  std::unique_ptr<PacketQueue> waiting;  // what came after that; only while `overflow` is not empty
  std::unique_ptr<TlsStream> tls;
  std::unique_ptr<WebSocket> websocket;

  ByteQueue partial;     // received (out of WebSocket frames), not yet delivered: a part of a frame, or frames that wait
  uint32_t need = 0;     // full size of the frame at the front of `partial`, once known
  uint32_t frame_size_max = 0;
  uint32_t keep_alive_ms = 0;
  uint32_t close_reason = 0;    // of flushing and lingering
  uint64_t active_at = 0;       // last byte from the peer
  uint64_t progress_at = 0;     // last byte taken by the peer while its reading is stopped
  uint64_t linger_until = 0;
  uint16_t listener = 0;
  std::string opened_json;      // goes with it when it migrates
  CensusTicket ticket;          // its place among the connections that the front limits

  [[nodiscard]] size_t Unsent() const { return overflow.size() + (waiting ? waiting->size() : 0); }
  [[nodiscard]] bool Has(uint16_t mask) const { return (flags & mask) != 0; }
  void Set(uint16_t mask) { flags = static_cast<uint16_t>(flags | mask); }
  void Clear(uint16_t mask) { flags = static_cast<uint16_t>(flags & ~mask); }
  // Flushing after the peer's end still takes replies: JavaScript may not know of it yet.
  [[nodiscard]] bool TakesOutput() const {
    return state == ConnectionState::kOpen || (state == ConnectionState::kFlushing && Has(flag::kPeerFinished | flag::kStreamEnded) && !Has(flag::kNotified));
  }
};

class ConnectionTable {
 public:
  // Null for an id whose connection is gone, however long ago.
  [[nodiscard]] Connection* Find(uint32_t id) {
    const uint32_t slot = id & CONNECTION_SLOT_MASK;
    if (slot >= slot_count_) return nullptr;
    Connection& connection = At(slot);
    return connection.id == id && connection.state != ConnectionState::kFree ? &connection : nullptr;
  }

  // Null when all ids are taken.
  [[nodiscard]] Connection* Allocate() {
    uint32_t slot;
    if (!free_slots_.empty()) {
      slot = free_slots_.front();
      free_slots_.pop_front();
    } else {
      if (slot_count_ > CONNECTION_SLOT_MASK) return nullptr;
      if (slot_count_ == chunks_.size() * kChunkCount) chunks_.push_back(std::make_unique<Connection[]>(kChunkCount));
      slot = slot_count_++;
    }
    Connection& connection = At(slot);
    // A new generation; 0 is skipped, so that no id is 0.
    uint32_t generation = (connection.id >> CONNECTION_SLOT_BITS) + 1;
    if (generation >> (32 - CONNECTION_SLOT_BITS) != 0) generation = 1;
    connection.id = (generation << CONNECTION_SLOT_BITS) | slot;
    return &connection;
  }

  // REQUIRES: the connection is closed, in no list and in no wheel.
  void Free(Connection& connection) {
    connection.state = ConnectionState::kFree;
    free_slots_.push_back(connection.id & CONNECTION_SLOT_MASK);  // oldest first: the longest time until an id's slot comes back
  }

  template <class Each>
  void ForEach(Each each) {
    for (uint32_t slot = 0; slot < slot_count_; slot++) {
      if (At(slot).state != ConnectionState::kFree) each(At(slot));
    }
  }

 private:
  static constexpr uint32_t kChunkCount = 256;
  Connection& At(uint32_t slot) { return chunks_[slot / kChunkCount][slot % kChunkCount]; }

  std::vector<std::unique_ptr<Connection[]>> chunks_;
  std::deque<uint32_t> free_slots_;
  uint32_t slot_count_ = 0;
};

}  // namespace penstock

// The front's reader of first frames: is it a whole CONNECT, and which client id does it carry? Knows just enough of MQTT to choose the
// shard; everything else about the packet is the shard's affair.
// Thread safety: pure functions.
// Every byte read here comes from a peer that nobody knows yet: all reads are bounded by the span (fuzz_client_id).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

enum class FirstFrameState : uint8_t { kNeedMore, kWhole, kRefused };

struct FirstFrame {
  FirstFrameState state = FirstFrameState::kNeedMore;
  size_t size = 0;               // kWhole: bytes of the frame, fixed header included
  const char* detail = nullptr;  // kRefused: why, in plain words
};

// Looks at what an MQTT listener has received so far. Refuses as early as possible: a frame that will be too large is refused by its
// fixed header alone.
[[nodiscard]] FirstFrame ReadMqttFirstFrame(std::span<const uint8_t> bytes, size_t size_max);

// The same for a line listener: a whole line, or `size_max` bytes of one (the shard then says what is wrong with it).
[[nodiscard]] FirstFrame ReadLineFirstFrame(std::span<const uint8_t> bytes, size_t size_max);

// What arrives on a TLS port instead of TLS. Null when the bytes begin a TLS record.
// REQUIRES: !bytes.empty()
[[nodiscard]] const char* WhyNotTls(std::span<const uint8_t> bytes);

enum class ConnectKind : uint8_t {
  kMalformed,       // ends before its client id does
  kUnknownVersion,  // the shard answers with the CONNACK that the version asks for
  kKnown,           // MQTT 3.1, 3.1.1 or 5
};

struct ConnectHead {
  ConnectKind kind = ConnectKind::kMalformed;
  std::span<const uint8_t> client_id;  // kKnown only; borrowed from the frame, may be empty
};

// Reads a whole CONNECT frame as far as its client id (MQTT 3.1.1 §3.1, MQTT 5 §3.1).
[[nodiscard]] ConnectHead ReadConnectHead(std::span<const uint8_t> frame);

// FNV-1a, 32 bits; the same as fnv1a in src/base/bytes.ts: which shard owns a client id.
[[nodiscard]] constexpr uint32_t Fnv1a(std::span<const uint8_t> bytes) {
  uint32_t hash = 0x811c9dc5;
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 0x01000193;
  return hash;
}

}  // namespace penstock

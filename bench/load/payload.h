// The payloads that the generator writes and finds again. Binary ones carry publisher, sequence and time, so that the
// receiving end counts losses and duplicates and measures latency; telemetry is JSON as a device would send it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>

namespace load {

struct Stamp {
  uint32_t publisher;
  uint32_t sequence;
  uint64_t time_ns;
};

inline constexpr uint64_t kStampMagic = 0x6b636f7473646e70;
inline constexpr size_t kStampSize = sizeof(uint64_t) + sizeof(Stamp);

inline void WriteStamp(char* payload, const Stamp& stamp) {
  std::memcpy(payload, &kStampMagic, sizeof kStampMagic);
  std::memcpy(payload + sizeof kStampMagic, &stamp, sizeof stamp);
}

[[nodiscard]] inline bool ReadStamp(std::span<const uint8_t> payload, Stamp& stamp) {
  if (payload.size() < kStampSize || std::memcmp(payload.data(), &kStampMagic, sizeof kStampMagic) != 0) return false;
  std::memcpy(&stamp, payload.data() + sizeof kStampMagic, sizeof stamp);
  return true;
}

// Two numbers of fixed width, so that the packet's length never changes: a reading that moves a little, and a counter
// by which each row in history can be told from the others. The rest of the payload is blanks, which JSON allows.
inline constexpr size_t kTelemetrySize = 100;

inline void WriteTelemetry(char* payload, uint32_t sequence) {
  char text[kTelemetrySize + 1];
  const int length = std::snprintf(text, sizeof text, "{\"temperature\":%u.%02u,\"sequence\":%u", 20 + sequence / 7 % 5, sequence % 100, 1'000'000'000 + sequence % 1'000'000'000);
  std::memset(payload, ' ', kTelemetrySize);
  std::memcpy(payload, text, static_cast<size_t>(length));
  payload[kTelemetrySize - 1] = '}';
}

}  // namespace load

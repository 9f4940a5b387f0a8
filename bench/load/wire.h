// The MQTT bytes the generator writes, and where frames end in those it reads. 3.1.1 and 5.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace load {

enum PacketType : uint8_t {
  kConnect = 1,
  kConnack = 2,
  kPublish = 3,
  kPuback = 4,
  kPubrec = 5,
  kPubrel = 6,
  kPubcomp = 7,
  kSubscribe = 8,
  kSuback = 9,
  kPingreq = 12,
  kPingresp = 13,
  kDisconnect = 14,
};

// One whole packet inside a receive buffer; valid until the next read.
struct Packet {
  uint8_t first;  // type and flags
  std::span<const uint8_t> body;

  [[nodiscard]] PacketType type() const { return static_cast<PacketType>(first >> 4); }
  [[nodiscard]] uint32_t qos() const { return (first >> 1) & 3U; }
};

enum class Framing { kWhole, kIncomplete, kMalformed };

// Finds the first packet of `bytes`; on kWhole `size` is how many bytes it takes.
Framing NextPacket(std::span<const uint8_t> bytes, Packet& packet, size_t& size);

std::string EncodeConnect(std::string_view client_id, uint32_t version, uint16_t keep_alive);
std::string EncodeSubscribe(std::string_view filter, uint32_t qos, uint32_t version, uint16_t packet_id = 1);

// A PUBLISH whose packet id (QoS >= 1) and payload are to be written later.
struct PublishTemplate {
  std::string bytes;
  size_t packet_id_at = 0;  // 0 at QoS 0
  size_t payload_at = 0;
};
PublishTemplate EncodePublish(std::string_view topic, size_t payload_size, uint32_t qos, uint32_t version);

// Where the payload of a received PUBLISH lies, and its packet id (0 at QoS 0). Returns false when it is malformed.
bool ReadPublish(const Packet& packet, uint32_t version, uint16_t& packet_id, std::span<const uint8_t>& payload);

inline uint16_t ReadU16(const uint8_t* from) { return static_cast<uint16_t>(from[0] << 8 | from[1]); }

inline void WriteU16(uint8_t* to, uint16_t value) {
  to[0] = static_cast<uint8_t>(value >> 8);
  to[1] = static_cast<uint8_t>(value);
}

// PUBACK, PUBREC, PUBREL, PUBCOMP: four bytes, in both versions (5.0 allows the reason code 0 to be left out).
inline void AppendAck(std::string& to, PacketType type, uint16_t packet_id) {
  const char bytes[4] = {static_cast<char>(type << 4 | (type == kPubrel ? 2 : 0)), 2, static_cast<char>(packet_id >> 8), static_cast<char>(packet_id)};
  to.append(bytes, sizeof bytes);
}

inline constexpr std::string_view kPingreqBytes{"\xc0\x00", 2};
inline constexpr std::string_view kDisconnectBytes{"\xe0\x00", 2};

}  // namespace load

#include "client_id.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace penstock {
namespace {

constexpr uint8_t kConnectHeader = 0x10;    // type 1, flags 0 [MQTT-2.2.2-1]
constexpr uint8_t kTlsHandshake = 0x16;     // ContentType handshake, RFC 8446 §5.1
constexpr uint8_t kBridgeBit = 0x80;        // set in the protocol level by bridges of mosquitto

// Bounds-checked reader; once it ran out, everything it gives is empty and `is_cut` stays true.
class Cursor {
 public:
  explicit Cursor(std::span<const uint8_t> bytes) : rest_(bytes) {}

  std::span<const uint8_t> Take(size_t count) {
    if (is_cut_ || count > rest_.size()) {
      is_cut_ = true;
      return {};
    }
    const auto taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  uint8_t Byte() {
    const auto taken = Take(1);
    return taken.empty() ? uint8_t{0} : taken[0];
  }
  // Two-byte length, then that many bytes (MQTT 5 §1.5.4).
  std::span<const uint8_t> String() {
    const auto length = Take(2);
    if (length.empty()) return {};
    return Take(static_cast<size_t>(length[0]) << 8 | length[1]);
  }
  // Variable byte integer, at most four bytes (MQTT 5 §1.5.5).
  size_t VariableInteger() {
    size_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
      const uint8_t byte = Byte();
      value |= static_cast<size_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    is_cut_ = true;  // a fifth byte is malformed
    return 0;
  }
  [[nodiscard]] bool is_cut() const { return is_cut_; }
  [[nodiscard]] size_t rest_size() const { return rest_.size(); }

 private:
  std::span<const uint8_t> rest_;
  bool is_cut_ = false;
};

bool Equals(std::span<const uint8_t> bytes, std::string_view text) {
  return bytes.size() == text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

// True when the bytes are the beginning of an HTTP request, however few of them have arrived.
bool LooksLikeHttp(std::span<const uint8_t> bytes) {
  constexpr std::array<std::string_view, 9> kMethods = {"GET ",    "POST ",    "PUT ",   "HEAD ",     "DELETE ",
                                                        "OPTIONS ", "CONNECT ", "PATCH ", "PRI * HTTP"};
  return std::any_of(kMethods.begin(), kMethods.end(), [&](std::string_view method) {
    return std::memcmp(bytes.data(), method.data(), std::min(bytes.size(), method.size())) == 0;
  });
}

FirstFrame Refused(const char* detail) { return {FirstFrameState::kRefused, 0, detail}; }

}  // namespace

FirstFrame ReadMqttFirstFrame(std::span<const uint8_t> bytes, size_t size_max) {
  if (bytes.empty()) return {};
  if (bytes[0] == kTlsHandshake) return Refused("looks like TLS: use the TLS port");
  if (LooksLikeHttp(bytes)) return Refused("looks like HTTP");
  if (bytes[0] != kConnectHeader) return Refused("the first packet is not a CONNECT");
  size_t length = 0;
  for (size_t i = 1; i <= 4; i++) {
    if (i == bytes.size()) return {};
    length |= static_cast<size_t>(bytes[i] & 0x7f) << (7 * (i - 1));
    if ((bytes[i] & 0x80) != 0) continue;
    const size_t size = 1 + i + length;
    if (size > size_max) return Refused("the CONNECT is too large");
    if (bytes.size() < size) return {};
    return {FirstFrameState::kWhole, size, nullptr};
  }
  return Refused("the remaining length has more than four bytes");
}

FirstFrame ReadLineFirstFrame(std::span<const uint8_t> bytes, size_t size_max) {
  if (bytes.empty()) return {};
  if (bytes[0] == kTlsHandshake) return Refused("looks like TLS: use the TLS port");
  const auto* end = static_cast<const uint8_t*>(std::memchr(bytes.data(), '\n', bytes.size()));
  if (end != nullptr) return {FirstFrameState::kWhole, static_cast<size_t>(end - bytes.data()) + 1, nullptr};
  if (bytes.size() >= size_max) return {FirstFrameState::kWhole, bytes.size(), nullptr};
  return {};
}

const char* WhyNotTls(std::span<const uint8_t> bytes) {
  if (bytes[0] == kTlsHandshake) return nullptr;
  if (bytes[0] == kConnectHeader) return "looks like MQTT without TLS: use TLS, or the plain port";
  if (LooksLikeHttp(bytes)) return "looks like HTTP without TLS";
  if (bytes[0] == '{') return "looks like JSON lines without TLS";
  return "no TLS";
}

ConnectHead ReadConnectHead(std::span<const uint8_t> frame) {
  Cursor cursor(frame);
  if (cursor.Byte() != kConnectHeader) return {};
  const size_t remaining = cursor.VariableInteger();
  if (cursor.is_cut() || remaining != cursor.rest_size()) return {};
  const auto name = cursor.String();
  const uint8_t level = cursor.Byte();
  if (cursor.is_cut()) return {};
  const int version = level & ~kBridgeBit;
  const bool is_31 = version == 3 && Equals(name, "MQIsdp");
  const bool is_311_or_5 = (version == 4 || version == 5) && Equals(name, "MQTT");
  if (!is_31 && !is_311_or_5) return {ConnectKind::kUnknownVersion, {}};
  (void)cursor.Take(1 + 2);  // connect flags, keep-alive
  if (version == 5) (void)cursor.Take(cursor.VariableInteger());  // properties
  const auto client_id = cursor.String();
  if (cursor.is_cut()) return {};
  return {ConnectKind::kKnown, client_id};
}

}  // namespace penstock

// Frames and requests as a WebSocket client sends them, for tests and fuzzer seeds.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::test {

inline constexpr uint8_t kClientKey[4] = {0x37, 0xfa, 0x21, 0x3d};

// `first` = FIN, reserved bits and opcode. `length_size`: bytes of an extended length, or 9 for the shortest that fits.
inline std::vector<uint8_t> ClientFrame(uint8_t first, std::string_view payload, bool is_masked = true, size_t length_size = 9) {
  if (length_size == 9) length_size = payload.size() < 126 ? 0 : payload.size() < 65'536 ? 2 : 8;
  std::vector<uint8_t> frame{first};
  const uint8_t mask_bit = is_masked ? 0x80 : 0;
  frame.push_back(static_cast<uint8_t>(mask_bit | (length_size == 0 ? payload.size() : length_size == 2 ? 126 : 127)));
  for (size_t i = 0; i < length_size; i++) frame.push_back(static_cast<uint8_t>(uint64_t{payload.size()} >> 8 * (length_size - 1 - i)));
  if (is_masked) frame.insert(frame.end(), kClientKey, kClientKey + 4);
  for (size_t i = 0; i < payload.size(); i++) frame.push_back(static_cast<uint8_t>(static_cast<uint8_t>(payload[i]) ^ (is_masked ? kClientKey[i & 3] : 0)));
  return frame;
}

inline std::vector<uint8_t> Joined(const std::vector<std::vector<uint8_t>>& frames) {
  std::vector<uint8_t> all;
  for (const auto& frame : frames) all.insert(all.end(), frame.begin(), frame.end());
  return all;
}

struct RequestParts {
  std::string line = "GET /mqtt HTTP/1.1";
  std::string host = "Host: gateway.example:8443\r\n";
  std::string upgrade = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n";
  std::string version = "Sec-WebSocket-Version: 13\r\n";
  std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  std::string protocol = "Sec-WebSocket-Protocol: mqtt\r\n";
  std::string more;
};

inline std::string UpgradeRequest(const RequestParts& parts = {}) {
  return parts.line + "\r\n" + parts.host + parts.upgrade + parts.version + parts.key + parts.protocol + parts.more + "\r\n";
}

}  // namespace penstock::test

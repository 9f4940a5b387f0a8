#include "websocket.h"

#include <algorithm>
#include <cstring>

namespace load {
namespace {

// Fixed: nobody listens, and the target has the same work with any key.
constexpr std::array<uint8_t, 8> kKeyTwice = {0x9d, 0x3a, 0x51, 0xe7, 0x9d, 0x3a, 0x51, 0xe7};

size_t HeaderSize(uint8_t second) {
  const uint8_t length = second & 0x7f;
  return 2 + (length == 126 ? 2U : length == 127 ? 8U : 0U);
}

}  // namespace

std::string EncodeUpgrade(std::string_view host, uint16_t port) {
  return "GET /mqtt HTTP/1.1\r\nHost: " + std::string(host) + ":" + std::to_string(port) +
         "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bG9hZC1nZW5lcmF0b3ItMQ==\r\n"
         "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
}

void AppendFrame(std::string& to, std::string_view packets) {
  const uint64_t size = packets.size();
  const size_t length_size = size < 126 ? 0 : size <= UINT16_MAX ? 2 : 8;
  to.push_back(static_cast<char>(0x82));
  to.push_back(static_cast<char>(0x80 | (length_size == 0 ? size : length_size == 2 ? 126 : 127)));
  for (size_t i = 0; i < length_size; i++) to.push_back(static_cast<char>(size >> 8 * (length_size - 1 - i)));
  to.append(reinterpret_cast<const char*>(kKeyTwice.data()), 4);
  const size_t start = to.size();
  to.append(packets);
  uint64_t key = 0;
  std::memcpy(&key, kKeyTwice.data(), 8);
  size_t at = start;
  for (; at + 8 <= to.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, to.data() + at, 8);
    word ^= key;
    std::memcpy(to.data() + at, &word, 8);
  }
  for (; at < to.size(); at++) to[at] = static_cast<char>(to[at] ^ static_cast<char>(kKeyTwice[(at - start) & 7]));
}

ptrdiff_t FrameReader::Take(uint8_t* bytes, size_t size) {
  size_t taken = 0;
  for (size_t at = 0; at < size;) {
    if (remaining_ == 0) {
      header_[header_size_++] = bytes[at++];
      if (header_size_ < 2 || header_size_ < HeaderSize(header_[1])) continue;
      const uint8_t opcode = header_[0] & 0xf;
      if (opcode == 8 || (header_[1] & 0x80) != 0) return -1;
      is_data_ = opcode < 8;
      remaining_ = header_size_ == 2 ? header_[1] : 0;
      for (size_t i = 2; i < header_size_; i++) remaining_ = remaining_ << 8 | header_[i];
      header_size_ = 0;
      continue;
    }
    const auto count = static_cast<size_t>(std::min<uint64_t>(remaining_, size - at));
    if (is_data_) {
      std::memmove(bytes + taken, bytes + at, count);
      taken += count;
    }
    at += count;
    remaining_ -= count;
  }
  return static_cast<ptrdiff_t>(taken);
}

}  // namespace load

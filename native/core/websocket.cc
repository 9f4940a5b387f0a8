#include "websocket.h"

#include <algorithm>
#include <cstring>

#include "utf8.h"

namespace penstock {
namespace {

constexpr uint8_t kFinal = 0x80;
constexpr uint8_t kReserved = 0x70;
constexpr uint8_t kMasked = 0x80;
constexpr uint8_t kLength = 0x7f;
constexpr uint8_t kLength16 = 126;
constexpr uint8_t kLength64 = 127;
constexpr uint8_t kContinuation = 0x0;
constexpr uint8_t kText = 0x1;
constexpr uint8_t kBinary = 0x2;
constexpr uint8_t kControlBit = 0x8;
constexpr uint8_t kClose = 0x8;
constexpr uint8_t kPing = 0x9;
constexpr uint8_t kPong = 0xa;

// The largest MQTT packet there is (§2.1.4). A frame may hold many and costs no memory, but nobody has a use for more.
constexpr uint64_t kFrameSizeMax = 5 + 268'435'455;

// By the second byte of a header: all of its size. Without a mask the frame is refused, so its key is not waited for.
size_t HeaderSize(uint8_t second) {
  if ((second & kMasked) == 0) return 2;
  const uint8_t length = second & kLength;
  return 2 + (length == kLength64 ? 8u : length == kLength16 ? 2u : 0u) + 4;
}

uint64_t BigEndian(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

// RFC 6455 §5.3, 8 bytes at a time. `to` may lie before `from` and overlap it: each word is read before it is written.
void Unmask(uint8_t* to, const uint8_t* from, size_t count, const std::array<uint8_t, 4>& key) {
  uint64_t wide = 0;
  std::memcpy(&wide, key.data(), 4);
  std::memcpy(reinterpret_cast<uint8_t*>(&wide) + 4, key.data(), 4);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, from + i, 8);
    word ^= wide;
    std::memcpy(to + i, &word, 8);
  }
  for (; i < count; i++) to[i] = from[i] ^ key[i & 3];
}

// RFC 6455 §7.4: what an endpoint may send. The others are reserved, or stand for things that are never on the wire.
bool IsCloseCode(uint64_t code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

}  // namespace

WebSocketInput WebSocketDecoder::Decode(std::span<uint8_t> bytes, std::vector<uint8_t>& pong) {
  WebSocketInput input;
  pong.clear();
  size_t at = 0;
  while (at < bytes.size()) {
    if (!is_in_frame_) {
      const auto rest = bytes.subspan(at);
      if (header_size_ == 0 && rest.size() >= 2 && rest.size() >= HeaderSize(rest[1])) {
        const size_t size = HeaderSize(rest[1]);
        at += size;
        input.fault = Begin(rest.first(size), input);
      } else {
        header_[header_size_++] = rest[0];
        at++;
        if (header_size_ < 2 || header_size_ < HeaderSize(header_[1])) continue;
        const size_t size = header_size_;
        header_size_ = 0;
        input.fault = Begin(std::span(header_).first(size), input);
      }
      if (input.fault != nullptr) return input;
    }
    const auto count = static_cast<size_t>(std::min<uint64_t>(remaining_, bytes.size() - at));
    const bool is_control = (opcode_ & kControlBit) != 0;
    if (is_control) {
      Unmask(control_.data() + control_size_, bytes.data() + at, count, key_);
      control_size_ = static_cast<uint8_t>(control_size_ + count);
    } else {
      Unmask(bytes.data() + input.size, bytes.data() + at, count, key_);
      input.size += count;
    }
    at += count;
    remaining_ -= count;
    if (remaining_ > 0) {
      Rotate(count);
      return input;
    }
    is_in_frame_ = false;
    if (!is_control) continue;
    input.fault = EndControl(input, pong);
    if (input.close_code != 0) return input;
  }
  return input;
}

// Reads a whole header. Says what is wrong with it, or null.
const char* WebSocketDecoder::Begin(std::span<const uint8_t> header, WebSocketInput& input) {
  input.close_code = close_code::kProtocolError;
  const bool is_final = (header[0] & kFinal) != 0;
  opcode_ = header[0] & 0xf;
  if ((header[0] & kReserved) != 0) return "a reserved bit is set, and no extension was agreed on";
  if ((header[1] & kMasked) == 0) return "the frame is not masked";  // RFC 6455 §5.1
  const uint8_t length = header[1] & kLength;
  if ((opcode_ & kControlBit) != 0) {
    if (opcode_ > kPong) return "the opcode is reserved";
    if (!is_final) return "a control frame is fragmented";
    if (length > kControlSizeMax) return "a control frame is too large";
  } else if (opcode_ == kText) {
    input.close_code = close_code::kUnsupported;
    return "a text frame: MQTT comes in binary frames";  // [MQTT-6.0.0-1]
  } else if (opcode_ > kBinary) {
    return "the opcode is reserved";
  } else {
    if ((opcode_ == kContinuation) != is_in_message_) return is_in_message_ ? "a fragmented message was not finished" : "a continuation of nothing";
    is_in_message_ = !is_final;
  }
  remaining_ = length;
  if (length == kLength16) {
    remaining_ = BigEndian(header.subspan(2, 2));
    if (remaining_ < kLength16) return "the length is not written in the shortest form";
  } else if (length == kLength64) {
    remaining_ = BigEndian(header.subspan(2, 8));
    if (remaining_ <= UINT16_MAX) return "the length is not written in the shortest form";
    if (remaining_ > kFrameSizeMax) {
      input.close_code = close_code::kTooLarge;
      return "the frame is too large";
    }
  }
  std::copy_n(header.end() - 4, 4, key_.begin());
  control_size_ = 0;
  is_in_frame_ = true;
  input.close_code = 0;
  return nullptr;
}

const char* WebSocketDecoder::EndControl(WebSocketInput& input, std::vector<uint8_t>& pong) {
  const auto payload = std::span(control_).first(control_size_);
  if (opcode_ == kPing) {
    pong.assign({kFinal | kPong, control_size_});
    pong.insert(pong.end(), payload.begin(), payload.end());
  }
  if (opcode_ != kClose) return nullptr;
  // RFC 6455 §5.5.1: nothing, or a code and a reason in UTF-8. The code is sent back.
  input.close_code = close_code::kNoStatus;
  if (payload.empty()) return nullptr;
  const uint64_t code = payload.size() < 2 ? 0 : BigEndian(payload.first(2));
  input.close_code = close_code::kProtocolError;
  if (!IsCloseCode(code)) return "the code of the Close frame is none";
  input.close_code = close_code::kInvalidText;
  if (!IsUtf8({reinterpret_cast<const char*>(payload.data()) + 2, payload.size() - 2})) return "the reason in the Close frame is not UTF-8";
  input.close_code = static_cast<uint16_t>(code);
  return nullptr;
}

// So that key_[0] belongs to the next byte.
void WebSocketDecoder::Rotate(size_t count) {
  const std::array<uint8_t, 4> old = key_;
  for (size_t i = 0; i < old.size(); i++) key_[i] = old[(i + count) & 3];
}

WebSocketHeader BinaryHeader(uint64_t payload_size) {
  WebSocketHeader header;
  header.bytes[0] = kFinal | kBinary;
  const uint32_t length_size = payload_size < kLength16 ? 0 : payload_size <= UINT16_MAX ? 2 : 8;
  header.bytes[1] = length_size == 0 ? static_cast<uint8_t>(payload_size) : length_size == 2 ? kLength16 : kLength64;
  for (uint32_t i = 0; i < length_size; i++) header.bytes[2 + i] = static_cast<uint8_t>(payload_size >> 8 * (length_size - 1 - i));
  header.size = 2 + length_size;
  return header;
}

std::vector<uint8_t> CloseFrame(uint16_t code) {
  if (code == close_code::kNoStatus) return {kFinal | kClose, 0};
  return {kFinal | kClose, 2, static_cast<uint8_t>(code >> 8), static_cast<uint8_t>(code)};
}

}  // namespace penstock

// WebSocket frames (RFC 6455 §5), server side: a peer's frames become the byte stream that they carry, in place; ours get a header.
// No extension is ever agreed on, so permessage-deflate does not exist here. Hot path; fuzzed (native/test/fuzz_websocket.cc).
//
//   received   | header, key | masked payload | header, key | masked payload | …
//   afterwards | payload | payload | …                    where the MQTT packets begin and end is the framer's affair [MQTT-6.0.0-2]
//
// Thread safety: one thread at a time; moves with its connection (front -> shard, shard -> shard).
// Invariants: what Decode writes never reaches past what it has read. Nothing is kept of a data frame but how much of it is still to
// come, so a peer gets no memory for a length that it announces.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace penstock {

// Status codes of Close frames, RFC 6455 §7.4.1.
namespace close_code {
inline constexpr uint16_t kNormal = 1000;
inline constexpr uint16_t kGoingAway = 1001;
inline constexpr uint16_t kProtocolError = 1002;
inline constexpr uint16_t kUnsupported = 1003;
inline constexpr uint16_t kNoStatus = 1005;  // never on the wire: stands for a Close frame without a code
inline constexpr uint16_t kInvalidText = 1007;
inline constexpr uint16_t kPolicy = 1008;
inline constexpr uint16_t kTooLarge = 1009;
inline constexpr uint16_t kTryAgainLater = 1013;
}  // namespace close_code

struct WebSocketInput {
  size_t size = 0;              // bytes of payload, now at the start of what was given
  uint16_t close_code = 0;      // not 0: nothing after this counts; answer with this code, then close
  const char* fault = nullptr;  // what the peer did wrong, in plain words; null when it said Close itself
};

class WebSocketDecoder {
 public:
  // Takes all of `bytes` as the next ones from the peer. The newest Ping in them is answered into `pong`, which is cleared first; older
  // ones need no answer (RFC 6455 §5.5.3), so a flood of them costs one frame per read.
  // REQUIRES: no earlier call returned a close code.
  [[nodiscard]] WebSocketInput Decode(std::span<uint8_t> bytes, std::vector<uint8_t>& pong);

 private:
  static constexpr size_t kHeaderSizeMax = 14;
  static constexpr size_t kControlSizeMax = 125;

  [[nodiscard]] const char* Begin(std::span<const uint8_t> header, WebSocketInput& input);
  [[nodiscard]] const char* EndControl(WebSocketInput& input, std::vector<uint8_t>& pong);
  void Rotate(size_t count);

  uint64_t remaining_ = 0;  // payload bytes of the current frame that are still to come
  std::array<uint8_t, 4> key_{};
  uint8_t opcode_ = 0;        // of the current frame
  uint8_t header_size_ = 0;   // bytes of a header that came in parts
  uint8_t control_size_ = 0;  // bytes of the current control frame's payload
  bool is_in_frame_ = false;
  bool is_in_message_ = false;  // a fragmented message goes on: the next data frame is a continuation
  std::array<uint8_t, kHeaderSizeMax> header_{};
  std::array<uint8_t, kControlSizeMax> control_{};
};

// A connection's WebSocket half.
struct WebSocket {
  WebSocketDecoder decoder;
  bool is_ended = false;        // the peer said Close or broke the rules: nothing more is decoded
  const char* fault = nullptr;  // which rule
  uint16_t close_code = 0;      // of the Close frame that we owe; 0: by the reason that the connection ends for

  // Decodes, and remembers how it ended. REQUIRES: !is_ended
  [[nodiscard]] size_t Take(std::span<uint8_t> bytes, std::vector<uint8_t>& pong) {
    const WebSocketInput input = decoder.Decode(bytes, pong);
    is_ended = input.close_code != 0;
    fault = input.fault;
    close_code = input.close_code;
    return input.size;
  }
};

// The header of an unmasked, unfragmented binary frame [MQTT-6.0.0-1]; a frame's bytes are payload after it.
struct WebSocketHeader {
  std::array<uint8_t, 10> bytes{};
  uint32_t size = 0;
};
[[nodiscard]] WebSocketHeader BinaryHeader(uint64_t payload_size);

// A Close frame; kNoStatus makes one without a code.
[[nodiscard]] std::vector<uint8_t> CloseFrame(uint16_t code);

}  // namespace penstock

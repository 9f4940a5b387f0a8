// Fuzzes the WebSocket decoder: however the bytes are cut, it gives the same stream, the same end and the same last pong, and a second,
// slower decoder written from RFC 6455 agrees.
#include <algorithm>

#include "fuzz.h"
#include "websocket.h"
#include "websocket_frames.h"

namespace {

using penstock::WebSocketDecoder;
using penstock::WebSocketInput;

struct Outcome {
  std::vector<uint8_t> stream;
  uint16_t close_code = 0;
  std::vector<uint8_t> pong;
  bool operator==(const Outcome&) const = default;
};

Outcome Decode(std::vector<uint8_t> bytes, size_t piece) {
  WebSocketDecoder decoder;
  Outcome outcome;
  std::vector<uint8_t> pong;
  for (size_t at = 0; at < bytes.size() && outcome.close_code == 0;) {
    // Each piece in memory of its own: a write beyond it is found.
    const size_t size = std::min(piece, bytes.size() - at);
    std::vector<uint8_t> part(bytes.begin() + static_cast<ptrdiff_t>(at), bytes.begin() + static_cast<ptrdiff_t>(at + size));
    const WebSocketInput input = decoder.Decode(part, pong);
    FUZZ_EXPECT(input.size <= size && pong.size() <= 127);
    FUZZ_EXPECT(input.fault == nullptr || input.close_code != 0);
    outcome.stream.insert(outcome.stream.end(), part.begin(), part.begin() + static_cast<ptrdiff_t>(input.size));
    outcome.close_code = input.close_code;
    if (!pong.empty()) outcome.pong = pong;
    at += size;
  }
  return outcome;
}

// Whole frames only, by the text of RFC 6455 §5.2; the stream up to the first frame that is cut, closes or is not one.
std::vector<uint8_t> StreamByDefinition(const std::vector<uint8_t>& bytes) {
  std::vector<uint8_t> stream;
  bool is_in_message = false;
  for (size_t at = 0; at + 2 <= bytes.size();) {
    const uint8_t opcode = bytes[at] & 0xf;
    const bool is_final = bytes[at] >= 0x80;
    uint64_t length = bytes[at + 1] & 0x7f;
    const size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
    if ((bytes[at] & 0x70) != 0 || (bytes[at + 1] & 0x80) == 0) return stream;
    if (opcode >= 8 && (opcode > 10 || !is_final || length > 125)) return stream;
    if (opcode < 8 && opcode != (is_in_message ? 0 : 2)) return stream;
    if (at + 6 + more > bytes.size()) return stream;
    if (more > 0) length = 0;
    for (size_t i = 0; i < more; i++) length = length << 8 | bytes[at + 2 + i];
    if ((more == 2 && length < 126) || (more == 8 && (length < 65'536 || length > 268'435'460))) return stream;
    const size_t start = at + 6 + more;
    for (size_t i = 0; i < length; i++) {
      if (start + i == bytes.size()) return stream;
      if (opcode < 8) stream.push_back(static_cast<uint8_t>(bytes[start + i] ^ bytes[start - 4 + (i & 3)]));
    }
    if (opcode == 8) return stream;
    if (opcode < 8) is_in_message = !is_final;
    at = start + static_cast<size_t>(length);
  }
  return stream;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size == 0) return 0;
  const std::vector<uint8_t> input(bytes + 1, bytes + size);
  const Outcome whole = Decode(input, SIZE_MAX);
  FUZZ_EXPECT(Decode(input, 1) == whole);
  FUZZ_EXPECT(Decode(input, 1 + size_t{bytes[0]}) == whole);
  FUZZ_EXPECT(whole.stream == StreamByDefinition(input));
  const auto header = penstock::BinaryHeader(input.size());
  FUZZ_EXPECT(header.size >= 2 && header.size <= 10);
  return 0;
}

std::vector<std::vector<uint8_t>> Seeds() {
  using penstock::test::ClientFrame;
  using penstock::test::Joined;
  std::vector<std::vector<uint8_t>> seeds = {
      ClientFrame(0x82, "abc"),
      Joined({ClientFrame(0x02, "a"), ClientFrame(0x89, "ping"), ClientFrame(0x80, "b"), ClientFrame(0x88, std::string_view("\x03\xe8" "bye", 5))}),
      ClientFrame(0x82, std::string(300, 'x')),
      ClientFrame(0x82, std::string(70'000, 'x')),
      ClientFrame(0x81, "text"),
      ClientFrame(0x82, "open", false),
      ClientFrame(0x88, ""),
  };
  for (auto& seed : seeds) seed.insert(seed.begin(), 3);
  return seeds;
}

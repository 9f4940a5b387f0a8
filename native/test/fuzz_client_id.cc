// Fuzzes what the front does with bytes from peers that nobody knows: first frames, client ids, their way into JSON.
#include <algorithm>
#include <string>
#include <string_view>

#include "client_id.h"
#include "connect_frames.h"
#include "fuzz.h"
#include "opened.h"

namespace {

using penstock::FirstFrame;
using penstock::FirstFrameState;

constexpr size_t kSizeMax = 300;

// What was decided on a part of the bytes must stand when more arrive.
template <typename Read>
void StandsWhenMoreArrives(std::span<const uint8_t> bytes, Read read) {
  const FirstFrame whole = read(bytes);
  FUZZ_EXPECT((whole.state == FirstFrameState::kRefused) == (whole.detail != nullptr));
  if (whole.state == FirstFrameState::kWhole) FUZZ_EXPECT(whole.size > 0 && whole.size <= bytes.size());
  for (size_t size = 0; size <= std::min<size_t>(bytes.size(), 400); size++) {
    const FirstFrame part = read(bytes.first(size));
    if (part.state == FirstFrameState::kNeedMore) continue;
    FUZZ_EXPECT(part.state == whole.state);
    if (part.state == FirstFrameState::kWhole) FUZZ_EXPECT(part.size == whole.size);
    break;
  }
}

// A second, slower opinion on where the client id stands: from the frame's end for frames that end with it.
void HeadIsInsideFrame(std::span<const uint8_t> frame) {
  const penstock::ConnectHead head = penstock::ReadConnectHead(frame);
  if (head.kind != penstock::ConnectKind::kKnown) {
    FUZZ_EXPECT(head.client_id.empty());
    return;
  }
  if (head.client_id.empty()) return;
  const uint8_t* start = head.client_id.data();
  FUZZ_EXPECT(start >= frame.data() + 14 && start + head.client_id.size() <= frame.data() + frame.size());
  FUZZ_EXPECT((size_t{start[-2]} << 8 | start[-1]) == head.client_id.size());
  (void)penstock::Fnv1a(head.client_id);
}

void JsonStaysOneString(std::string_view text) {
  std::string json;
  penstock::AppendJsonString(json, text);
  FUZZ_EXPECT(json.size() >= 2 && json.front() == '"' && json.back() == '"');
  const std::string_view inner = std::string_view(json).substr(1, json.size() - 2);
  for (size_t i = 0; i < inner.size(); i++) {
    FUZZ_EXPECT(static_cast<uint8_t>(inner[i]) >= 0x20 && inner[i] != '"');
    if (inner[i] == '\\') FUZZ_EXPECT(++i < inner.size() && (inner[i] == '"' || inner[i] == '\\' || inner[i] == 'u'));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::span<const uint8_t> input(bytes, size);
  StandsWhenMoreArrives(input, [](auto part) { return penstock::ReadMqttFirstFrame(part, kSizeMax); });
  const FirstFrame frame = penstock::ReadMqttFirstFrame(input, kSizeMax);
  if (frame.state == FirstFrameState::kWhole) HeadIsInsideFrame(input.first(frame.size));
  HeadIsInsideFrame(input);
  if (!input.empty()) (void)penstock::WhyNotTls(input);
  const FirstFrame line = penstock::ReadLineFirstFrame(input, kSizeMax);
  if (line.state == FirstFrameState::kWhole) FUZZ_EXPECT(line.size > 0 && line.size <= size);
  JsonStaysOneString({reinterpret_cast<const char*>(bytes), size});
  return 0;
}

std::vector<std::vector<uint8_t>> Seeds() {
  using penstock::test::ConnectFrame;
  const std::string_view http = "GET / HTTP/1.1\r\n\r\n";
  const std::string_view line = "{\"message_type\":\"Connect\"}\n";
  std::vector<std::vector<uint8_t>> seeds = {
      ConnectFrame("MQTT", 4, "device-1"),
      ConnectFrame("MQTT", 4, ""),
      ConnectFrame("MQTT", 4, std::string(200, 'x')),
      ConnectFrame("MQIsdp", 3, "old"),
      ConnectFrame("MQTT", 5, "five", std::string_view("\x11\0\0\0\x3c\x21\0\x0a", 8)),
      ConnectFrame("MQTT", 0x84, "bridge"),
      ConnectFrame("MQTT", 6, "future"),
      {0x10, 0xff, 0xff, 0xff, 0x7f},
      {0x16, 3, 1, 2, 0, 1},
  };
  seeds.emplace_back(http.begin(), http.end());
  seeds.emplace_back(line.begin(), line.end());
  return seeds;
}

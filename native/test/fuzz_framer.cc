// Fuzzes the framers against a second, slower opinion, and whatever the cut: what is decided on a part of the bytes stands when more come.
// First byte: framing and limits; the rest: the stream.
#include <algorithm>

#include "framer.h"
#include "fuzz.h"
#include "layout.h"

namespace {

using penstock::FrameFault;
using penstock::FrameRules;
using penstock::FrameScan;
using penstock::ScanFrames;

// Ends of the whole frames, one byte at a time.
struct Opinion {
  std::vector<size_t> ends;
  FrameFault fault = FrameFault::kNone;
};

Opinion Mqtt(std::span<const uint8_t> bytes, size_t size_max) {
  Opinion opinion;
  size_t at = 0;
  for (;;) {
    uint64_t length = 0;
    uint64_t factor = 1;
    size_t index = at + 1;
    for (;; index++, factor *= 128) {
      if (index - at == 5) {
        opinion.fault = FrameFault::kMalformed;
        return opinion;
      }
      if (index >= bytes.size()) return opinion;
      length += (bytes[index] & 127u) * factor;
      if (bytes[index] < 128) break;
    }
    const uint64_t size = index + 1 - at + length;
    if (size > size_max) {
      opinion.fault = FrameFault::kTooLarge;
      return opinion;
    }
    if (at + size > bytes.size()) return opinion;
    at += size;
    opinion.ends.push_back(at);
  }
}

Opinion Lines(std::span<const uint8_t> bytes, size_t size_max) {
  Opinion opinion;
  size_t start = 0;
  for (size_t i = 0; i < bytes.size(); i++) {
    if (i + 1 - start > size_max) {
      opinion.fault = FrameFault::kTooLarge;
      return opinion;
    }
    if (bytes[i] != '\n') continue;
    start = i + 1;
    opinion.ends.push_back(start);
  }
  return opinion;
}

void Check(const FrameRules& rules, std::span<const uint8_t> bytes, const Opinion& opinion) {
  const FrameScan scan = ScanFrames(rules, bytes);
  const size_t count = std::min<size_t>(opinion.ends.size(), rules.count_max);
  FUZZ_EXPECT(scan.count == count);
  FUZZ_EXPECT(scan.whole == (count == 0 ? 0 : opinion.ends[count - 1]));
  FUZZ_EXPECT(scan.need == 0 || scan.whole + scan.need > bytes.size());
  FUZZ_EXPECT(scan.need <= rules.size_max);
  if (rules.count_max > count) FUZZ_EXPECT(scan.fault == opinion.fault);
}

// As the reactor does it: what is left of one read goes in front of the next.
void CheckInPieces(const FrameRules& rules, std::span<const uint8_t> bytes, const Opinion& opinion, size_t step) {
  size_t start = 0;
  size_t held = 0;
  size_t frames = 0;
  for (size_t end = 0; end < bytes.size();) {
    end = std::min(bytes.size(), end + step);
    const FrameScan scan = ScanFrames(rules, bytes.subspan(start, end - start), held);
    start += scan.whole;
    frames += scan.count;
    held = end - start;
    if (scan.count > 0) FUZZ_EXPECT(frames <= opinion.ends.size() && start == opinion.ends[frames - 1]);
    if (scan.fault != FrameFault::kNone) {
      FUZZ_EXPECT(scan.fault == opinion.fault && frames == opinion.ends.size());
      return;
    }
  }
  FUZZ_EXPECT(frames == opinion.ends.size());
  FUZZ_EXPECT(opinion.fault == FrameFault::kNone);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  FrameRules rules;
  rules.framing = data[0] % 3;
  rules.size_max = 16u << (data[0] / 3 % 16);
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  if (rules.framing == penstock::FRAMING_RAW) {
    const FrameScan scan = ScanFrames(rules, bytes);
    FUZZ_EXPECT(scan.whole == bytes.size() && scan.fault == FrameFault::kNone && scan.need == 0);
    return 0;
  }
  const Opinion opinion = rules.framing == penstock::FRAMING_MQTT ? Mqtt(bytes, rules.size_max) : Lines(bytes, rules.size_max);
  Check(rules, bytes, opinion);
  for (const size_t step : {size_t{1}, size_t{2}, size_t{7}, size_t{100}}) CheckInPieces(rules, bytes, opinion, step);
  rules.count_max = 1;
  Check(rules, bytes, opinion);
  return 0;
}

std::vector<std::vector<uint8_t>> Seeds() {
  return {
      {0, 0x10, 2, 1, 2, 0xc0, 0, 0x30, 0x81, 0x01},
      {0, 0x30, 0xff, 0xff, 0xff, 0x7f},
      {0, 0x30, 0xff, 0xff, 0xff, 0xff, 1},
      {45, 0x30, 0x80, 0x80, 0x00, 0x30, 0x00},
      {1, 'a', '\n', '\n', 'b', 'c', '\n', 'd'},
      {1, 'n', 'o', ' ', 'e', 'n', 'd', '1', '2', '3', '4', '5', '6', '7', '8', '9', '0', '1'},
      {2, 1, 2, 3},
  };
}

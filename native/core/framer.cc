#include "framer.h"

#include <cstring>

#include "layout.h"

namespace penstock {

namespace {

// MQTT §2.1: one byte of type and flags, the remaining length as a variable byte integer of one to four bytes, then so many bytes.
FrameScan ScanMqtt(const FrameRules& rules, std::span<const uint8_t> bytes) {
  FrameScan scan;
  while (scan.count < rules.count_max) {
    const std::span<const uint8_t> rest = bytes.subspan(scan.whole);
    size_t remaining = 0;
    size_t header = 1;
    for (uint32_t shift = 0;; shift += 7) {
      if (shift == 28) {  // a fifth length byte [MQTT-1.5.5]
        scan.fault = FrameFault::kMalformed;
        return scan;
      }
      if (header >= rest.size()) return scan;
      const uint8_t byte = rest[header++];
      remaining |= static_cast<size_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) break;
    }
    const size_t size = header + remaining;
    if (size > rules.size_max) {
      scan.fault = FrameFault::kTooLarge;
      return scan;
    }
    if (size > rest.size()) {
      scan.need = size;
      return scan;
    }
    scan.whole += size;
    scan.count++;
  }
  return scan;
}

FrameScan ScanLines(const FrameRules& rules, std::span<const uint8_t> bytes, size_t searched) {
  FrameScan scan;
  while (scan.count < rules.count_max) {
    const std::span<const uint8_t> rest = bytes.subspan(scan.whole);
    const size_t from = scan.whole == 0 ? searched : 0;
    const void* end = rest.size() > from ? std::memchr(rest.data() + from, '\n', rest.size() - from) : nullptr;
    const size_t size = end == nullptr ? rest.size() : static_cast<size_t>(static_cast<const uint8_t*>(end) - rest.data()) + 1;
    if (size > rules.size_max) {
      scan.fault = FrameFault::kTooLarge;
      return scan;
    }
    if (end == nullptr) return scan;
    scan.whole += size;
    scan.count++;
  }
  return scan;
}

}  // namespace

FrameScan ScanFrames(const FrameRules& rules, std::span<const uint8_t> bytes, size_t searched) {
  switch (rules.framing) {
    case FRAMING_MQTT:
      return ScanMqtt(rules, bytes);
    case FRAMING_LINE:
      return ScanLines(rules, bytes, searched);
    default: {
      FrameScan scan;
      scan.whole = bytes.size();
      scan.count = bytes.empty() ? 0 : 1;
      return scan;
    }
  }
}

}  // namespace penstock

// Where frames end in a byte stream. Knows lengths, nothing of what the bytes mean. Hot path; fuzzed (native/test/fuzz_framer.cc).
// This is the one place where a peer's length fields are checked.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

enum class FrameFault : uint8_t { kNone, kMalformed, kTooLarge };

struct FrameScan {
  size_t whole = 0;    // bytes of whole frames, from the start
  uint32_t count = 0;  // frames in them
  size_t need = 0;     // full size of the frame that begins behind them; 0 while that is unknown
  FrameFault fault = FrameFault::kNone;  // what begins behind them can never become a frame
};

struct FrameRules {
  uint32_t framing = 0;     // layout.h FRAMING_*
  size_t size_max = 0;      // of one frame, header included
  uint32_t count_max = UINT32_MAX;
};

// `searched`: so many bytes from the start were scanned before without finding the end of the first frame (lines only).
[[nodiscard]] FrameScan ScanFrames(const FrameRules& rules, std::span<const uint8_t> bytes, size_t searched = 0);

}  // namespace penstock

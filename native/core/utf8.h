// UTF-8 as peers send it (RFC 3629): overlong forms, surrogates and what lies beyond U+10FFFF are none.
// Thread safety: pure functions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace penstock {

// Size of the sequence at the start of `text`; 0 when there is none, or only a part of one.
// REQUIRES: !text.empty()
[[nodiscard]] inline size_t Utf8SequenceSize(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
  if (size == 0 || text.size() < size) return 0;
  for (size_t i = 1; i < size; i++)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  const uint8_t second = byte(1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return 0;
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return 0;
  return size;
}

[[nodiscard]] inline bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t size = Utf8SequenceSize(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

}  // namespace penstock

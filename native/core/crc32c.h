// CRC-32C (Castagnoli, reflected, RFC 3720 appendix B.4): checks the journal's frames. Uses the processor's instruction where there is
// one (SSE 4.2 on x86-64, the CRC extension on ARMv8), else tables.
// Thread safety: all functions may be called from any thread.
#pragma once
#include <cstdint>
#include <span>

namespace penstock {

// The checksum of `bytes`, e.g. 0xe3069283 for "123456789".
[[nodiscard]] uint32_t Crc32c(std::span<const uint8_t> bytes);

// The same without the processor's instruction; exported so that a test can hold both against each other.
[[nodiscard]] uint32_t Crc32cByTable(std::span<const uint8_t> bytes);

// "sse4.2", "armv8" or "table".
[[nodiscard]] const char* Crc32cImplementation();

}  // namespace penstock

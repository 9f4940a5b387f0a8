// Hot path.
#include "crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

namespace penstock {
namespace {

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  constexpr uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41 reflected
  Tables tables{};
  for (uint32_t value = 0; value < 256; value++) {
    uint32_t crc = value;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][value] = crc;
  }
  for (size_t table = 1; table < 8; table++)
    for (size_t value = 0; value < 256; value++)
      tables[table][value] = (tables[table - 1][value] >> 8) ^ tables[0][tables[table - 1][value] & 0xff];
  return tables;
}
constexpr Tables kTables = MakeTables();

uint64_t Load64(const uint8_t* bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// Eight tables at once ("slicing by 8"). All our targets are little-endian.
uint32_t ExtendByTable(uint32_t crc, const uint8_t* bytes, size_t size) {
  for (; size >= 8; bytes += 8, size -= 8) {
    const uint64_t word = Load64(bytes) ^ crc;
    crc = 0;
    for (size_t i = 0; i < 8; i++) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (; size > 0; bytes++, size--) crc = (crc >> 8) ^ kTables[0][(crc ^ *bytes) & 0xff];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t ExtendByInstruction(uint32_t crc, const uint8_t* bytes, size_t size) {
  uint64_t wide = crc;
  for (; size >= 8; bytes += 8, size -= 8) wide = _mm_crc32_u64(wide, Load64(bytes));
  crc = static_cast<uint32_t>(wide);
  for (; size > 0; bytes++, size--) crc = _mm_crc32_u8(crc, *bytes);
  return crc;
}
bool HasInstruction() { return __builtin_cpu_supports("sse4.2") != 0; }
constexpr const char* kInstruction = "sse4.2";
#elif defined(__aarch64__)
__attribute__((target("+crc"))) uint32_t ExtendByInstruction(uint32_t crc, const uint8_t* bytes, size_t size) {
  for (; size >= 8; bytes += 8, size -= 8) crc = __crc32cd(crc, Load64(bytes));
  for (; size > 0; bytes++, size--) crc = __crc32cb(crc, *bytes);
  return crc;
}
bool HasInstruction() {
  constexpr unsigned long kHwcapCrc32 = 1ul << 7;
  return (getauxval(AT_HWCAP) & kHwcapCrc32) != 0;
}
constexpr const char* kInstruction = "armv8";
#else
uint32_t ExtendByInstruction(uint32_t crc, const uint8_t* bytes, size_t size) { return ExtendByTable(crc, bytes, size); }
bool HasInstruction() { return false; }
constexpr const char* kInstruction = "table";
#endif

const bool kHasInstruction = HasInstruction();

}  // namespace

uint32_t Crc32c(std::span<const uint8_t> bytes) {
  const uint32_t crc = kHasInstruction ? ExtendByInstruction(0xffffffff, bytes.data(), bytes.size())
                                       : ExtendByTable(0xffffffff, bytes.data(), bytes.size());
  return ~crc;
}

uint32_t Crc32cByTable(std::span<const uint8_t> bytes) { return ~ExtendByTable(0xffffffff, bytes.data(), bytes.size()); }

const char* Crc32cImplementation() { return kHasInstruction ? kInstruction : "table"; }

}  // namespace penstock

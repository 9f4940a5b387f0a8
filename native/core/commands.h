// Reads COMMAND records (src/ring/layout.ts) one by one out of the command memory. Pure, copies nothing; hot path; fuzzed
// (native/test/fuzz_commands.cc). A record that lies about its sizes is a bug of our JavaScript: kBad, and the worker is stopped.
#pragma once
#include <cstdint>
#include <cstring>
#include <span>

#include "layout.h"

namespace penstock {

// A receiver of MULTICAST_PATCHED and what it has of its own.
struct Patch {
  static constexpr size_t kSize = 2;
  uint32_t id;
  uint8_t bytes[kSize];
  uint8_t padding[2];
};
static_assert(sizeof(Patch) == 8);

struct Command {
  uint32_t kind = 0;
  uint32_t id = 0;
  uint32_t value = 0;                     // the u32 of CLOSE, KEEP_ALIVE, MIGRATE, FRAMING, FRAME_SIZE_MAX, MULTICAST_PATCHED
  std::span<const uint8_t> bytes;         // of DATA, DATA_REF, MULTICAST, MULTICAST_REF, MULTICAST_PATCHED, MIGRATE
  std::span<const uint32_t> receivers;    // of MULTICAST, MULTICAST_REF
  std::span<const Patch> patches;         // of MULTICAST_PATCHED; `value` = where in `bytes` theirs go
};

enum class CommandResult : uint8_t { kCommand, kEnd, kBad };

class CommandReader {
 public:
  // `commands` starts on an 8-byte boundary. `inbound`: the inbound ring's data part, which the _REF kinds point into.
  CommandReader(std::span<const uint8_t> commands, std::span<const uint8_t> inbound) : rest_(commands), inbound_(inbound) {}

  [[nodiscard]] CommandResult Next(Command& command) {
    if (rest_.empty()) return CommandResult::kEnd;
    if (rest_.size() < RECORD_HEADER_SIZE) return CommandResult::kBad;
    const uint32_t first = Word(rest_.data());
    const uint32_t length = first & RECORD_LENGTH_MAX;
    command.kind = first >> 24;
    command.id = Word(rest_.data() + 4);
    if (length > rest_.size() - RECORD_HEADER_SIZE) return CommandResult::kBad;
    const std::span<const uint8_t> body = rest_.subspan(RECORD_HEADER_SIZE, length);
    if (!ReadBody(command, body)) return CommandResult::kBad;
    // The padding of the last record may be missing.
    const size_t size = RECORD_HEADER_SIZE + ((size_t{length} + 7) & ~size_t{7});
    rest_ = size < rest_.size() ? rest_.subspan(size) : std::span<const uint8_t>();
    return CommandResult::kCommand;
  }

 private:
  static uint32_t Word(const uint8_t* at) {
    uint32_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
  }

  [[nodiscard]] bool ReadBody(Command& command, std::span<const uint8_t> body) const {
    switch (command.kind) {
      case COMMAND_DATA:
        command.bytes = body;
        return true;
      case COMMAND_DATA_REF:
        return body.size() == 8 && Refer(command, body);
      case COMMAND_MULTICAST: {
        if (body.size() < 4) return false;
        const size_t length = Word(body.data());
        const size_t padded = (length + 3) & ~size_t{3};
        if (padded > body.size() - 4) return false;
        command.bytes = body.subspan(4, length);
        return ReadReceivers(command, body.subspan(4 + padded));
      }
      case COMMAND_MULTICAST_REF:
        return body.size() >= 8 && Refer(command, body) && ReadReceivers(command, body.subspan(8));
      case COMMAND_MULTICAST_PATCHED: {
        if (body.size() < 8) return false;
        const size_t length = Word(body.data());
        command.value = Word(body.data() + 4);
        const size_t padded = (length + 3) & ~size_t{3};
        if (padded > body.size() - 8 || length < Patch::kSize || command.value > length - Patch::kSize) return false;
        command.bytes = body.subspan(8, length);
        return ReadPatches(command, body.subspan(8 + padded));
      }
      case COMMAND_CLOSE:
        if (body.size() != 4) return false;
        command.value = Word(body.data());
        return command.value < CLOSE_REASON_COUNT;
      case COMMAND_KEEP_ALIVE:
      case COMMAND_FRAMING:
      case COMMAND_FRAME_SIZE_MAX:
        if (body.size() != 4) return false;
        command.value = Word(body.data());
        return command.kind != COMMAND_FRAMING || command.value <= FRAMING_RAW;
      case COMMAND_MIGRATE:
        if (body.size() < 4) return false;
        command.value = Word(body.data());
        command.bytes = body.subspan(4);
        return command.value < SHARD_COUNT_MAX;
      case COMMAND_ACCEPT:
      case COMMAND_FREE:
      case COMMAND_PAUSE:
      case COMMAND_RESUME:
        return body.empty();
      default:
        return false;
    }
  }

  [[nodiscard]] bool Refer(Command& command, std::span<const uint8_t> body) const {
    const size_t offset = Word(body.data());
    const size_t length = Word(body.data() + 4);
    if (offset > inbound_.size() || length > inbound_.size() - offset) return false;
    command.bytes = inbound_.subspan(offset, length);
    return true;
  }

  // The ids stand on a 4-byte boundary, since records start on 8-byte ones and the bytes before them are padded to 4.
  [[nodiscard]] static bool ReadReceivers(Command& command, std::span<const uint8_t> ids) {
    if (ids.size() != size_t{command.id} * 4) return false;
    command.receivers = {reinterpret_cast<const uint32_t*>(ids.data()), command.id};
    return true;
  }

  // On a 4-byte boundary, for the same reason.
  [[nodiscard]] static bool ReadPatches(Command& command, std::span<const uint8_t> patches) {
    if (patches.size() != size_t{command.id} * sizeof(Patch)) return false;
    command.patches = {reinterpret_cast<const Patch*>(patches.data()), command.id};
    return true;
  }

  std::span<const uint8_t> rest_;
  std::span<const uint8_t> inbound_;
};

}  // namespace penstock

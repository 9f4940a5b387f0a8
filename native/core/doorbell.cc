#include "doorbell.h"

#include <array>
#include <mutex>

#include "check.h"
#include "layout.h"

namespace penstock {

namespace {

struct Slot {
  std::mutex lock;
  uint64_t ticket = 0;
  std::function<void()> wake;
};

// Never destroyed: native threads may still ring while the process exits.
std::array<Slot, DOORBELL_COUNT>& Slots() {
  static auto& slots = *new std::array<Slot, DOORBELL_COUNT>();
  return slots;
}

}  // namespace

DoorbellTable& DoorbellTable::Instance() {
  static auto& table = *new DoorbellTable();
  return table;
}

uint64_t DoorbellTable::Open(uint32_t index, std::function<void()> wake) {
  CHECK(index < DOORBELL_COUNT);
  Slot& slot = Slots()[index];
  const std::lock_guard guard(slot.lock);
  slot.wake = std::move(wake);
  return ++slot.ticket;
}

void DoorbellTable::Close(uint32_t index, uint64_t ticket) {
  CHECK(index < DOORBELL_COUNT);
  Slot& slot = Slots()[index];
  const std::lock_guard guard(slot.lock);
  if (slot.ticket == ticket) slot.wake = nullptr;
}

void DoorbellTable::Ring(uint32_t index) {
  if (index >= DOORBELL_COUNT) return;
  Slot& slot = Slots()[index];
  const std::lock_guard guard(slot.lock);
  if (slot.wake) slot.wake();
}

}  // namespace penstock

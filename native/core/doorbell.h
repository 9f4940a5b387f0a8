// The process-wide table of doorbells: how one thread wakes another that reads its rings (slots: layout.h DOORBELL_*).
// Thread safety: all functions from any thread. Ringing holds the slot's lock, so that a doorbell which is being closed is never rung
// afterwards; the lock is uncontended but for two ringers of one sleeper.
#pragma once
#include <cstdint>
#include <functional>

namespace penstock {

class DoorbellTable {
 public:
  static DoorbellTable& Instance();
  // Makes `wake` the slot's doorbell, in place of what was there (a thread that died). Returns the ownership's ticket.
  [[nodiscard]] uint64_t Open(uint32_t slot, std::function<void()> wake);
  // Ends the ownership; nothing happens when the slot has another owner by now.
  void Close(uint32_t slot, uint64_t ticket);
  // Nothing happens when nobody owns the slot.
  void Ring(uint32_t slot);

 private:
  DoorbellTable() = default;
};

}  // namespace penstock

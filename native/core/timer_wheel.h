// Deadlines of many connections: a hashed wheel. Arming and cancelling cost a few list operations; what is armed is looked at once, when
// its tick comes. A deadline that moves on with every byte read is not re-armed: its owner looks at the clock when the tick comes
// ("lazy"), and arms it again for the rest.
// Thread safety: one thread. Times: milliseconds of one monotonic clock.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace penstock {

struct TimerNode {
  TimerNode* previous = nullptr;
  TimerNode* next = nullptr;
  uint64_t due = 0;

  TimerNode() = default;
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;
  [[nodiscard]] bool is_armed() const { return next != nullptr; }
};

class TimerWheel {
 public:
  static constexpr uint32_t kTickMs = 64;
  static constexpr uint32_t kBucketCount = 1024;  // 65 s a turn; later deadlines stay in their bucket for several turns

  explicit TimerWheel(uint64_t now) : tick_(now / kTickMs) {
    for (TimerNode& bucket : buckets_) bucket.previous = bucket.next = &bucket;
  }
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  void Arm(TimerNode& node, uint64_t due) {
    Cancel(node);
    node.due = due;
    // A tick ahead at least: the bucket of the running tick has been looked at.
    const uint64_t index = std::max(tick_ + 1, (due + kTickMs - 1) / kTickMs) % kBucketCount;
    TimerNode& bucket = buckets_[index];
    node.previous = bucket.previous;
    node.next = &bucket;
    node.previous->next = &node;
    bucket.previous = &node;
    filled_[index / 64] |= uint64_t{1} << (index % 64);
  }

  void Cancel(TimerNode& node) {
    if (!node.is_armed()) return;
    node.previous->next = node.next;
    node.next->previous = node.previous;
    node.previous = node.next = nullptr;
  }

  // Calls on_due(TimerNode&), unarmed, for everything due at `now`. on_due may arm and cancel any node.
  template <class OnDue>
  void Expire(uint64_t now, OnDue on_due) {
    const uint64_t target = now / kTickMs;
    for (uint32_t steps = 0; tick_ < target; steps++) {
      if (steps == kBucketCount) tick_ = target - 1;  // asleep for more than a turn: every bucket has been looked at
      tick_++;
      ExpireBucket(tick_ % kBucketCount, now, on_due);
    }
  }

  // Milliseconds from `now` to the next tick that has something in its bucket, or -1 when nothing is armed.
  [[nodiscard]] int64_t UntilNext(uint64_t now) {
    for (uint64_t ahead = 1; ahead <= kBucketCount;) {
      const uint64_t index = (tick_ + ahead) % kBucketCount;
      const uint64_t bits = filled_[index / 64] >> (index % 64);
      if (bits == 0) {
        ahead += 64 - index % 64;
        continue;
      }
      ahead += static_cast<uint64_t>(std::countr_zero(bits));
      const uint64_t found = (tick_ + ahead) % kBucketCount;
      if (buckets_[found].next == &buckets_[found]) {
        filled_[found / 64] &= ~(uint64_t{1} << (found % 64));
        continue;
      }
      const uint64_t at = (tick_ + ahead) * kTickMs;
      return at > now ? static_cast<int64_t>(at - now) : 0;
    }
    return -1;
  }

 private:
  template <class OnDue>
  void ExpireBucket(uint64_t index, uint64_t now, OnDue on_due) {
    TimerNode& bucket = buckets_[index];
    if (bucket.next == &bucket) return;
    // Taken off as a whole first: on_due may arm nodes into this very bucket (a turn of the wheel ahead).
    TimerNode list;
    list.next = bucket.next;
    list.previous = bucket.previous;
    list.next->previous = list.previous->next = &list;
    bucket.next = bucket.previous = &bucket;
    while (list.next != &list) {
      TimerNode& node = *list.next;
      const uint64_t due = node.due;
      Cancel(node);
      if (due > now) {
        Arm(node, due);
      } else {
        on_due(node);
      }
    }
    if (bucket.next == &bucket) filled_[index / 64] &= ~(uint64_t{1} << (index % 64));
  }

  uint64_t tick_;
  std::array<TimerNode, kBucketCount> buckets_;
  std::array<uint64_t, kBucketCount / 64> filled_{};
};

}  // namespace penstock

// Whether a reactor should wait a moment for more work before it reads ("throughput"). Measured (docs/decisions, native reactor): at
// 50,000 messages/s a worker wakes for two or three of them, and waiting up to 200 us cuts its CPU per message by a quarter. The wait
// blocks the worker's JavaScript, so it is taken only while the rate is high, the last batch was small, and waiting does gather more:
// clients that each wait for an answer before they send again only lose by it, so every window begins with a turn that does not wait,
// and when the waiting turns find little more than that one, waiting is left off for a while.
// Thread safety: one thread. Pure: the caller passes the clock.
#pragma once
#include <cstdint>

namespace penstock {

class Moderator {
 public:
  static constexpr uint64_t kSpacingNs = 200'000;
  static constexpr uint64_t kWindowNs = 10'000'000;
  static constexpr uint32_t kRateHigh = 100;  // sockets read per window: 10,000/s
  static constexpr uint32_t kBatchSmall = 64;
  static constexpr uint32_t kRestWindows = 16;

  // Nanoseconds to wait before this turn reads; 0 = none.
  [[nodiscard]] uint64_t WaitBefore(uint64_t now) {
    if (now - window_start_ >= kWindowNs) StartWindow(now);
    is_waiting_ = false;
    const uint64_t since = now - turn_start_;
    turn_start_ = now;
    if (!is_rate_high_ || rest_windows_ > 0 || plain_turns_ == 0 || last_batch_ >= kBatchSmall || since >= kSpacingNs) return 0;
    is_waiting_ = true;
    turn_start_ += kSpacingNs - since;
    return kSpacingNs - since;
  }

  // After the turn: how many sockets it read.
  void TurnDone(uint32_t batch) {
    last_batch_ = batch;
    events_ += batch;
    (is_waiting_ ? waited_turns_ : plain_turns_)++;
    (is_waiting_ ? waited_events_ : plain_events_) += batch;
  }

 private:
  void StartWindow(uint64_t now) {
    // A gap of several windows was idle time.
    is_rate_high_ = now - window_start_ < 2 * kWindowNs && events_ >= kRateHigh;
    if (rest_windows_ > 0) rest_windows_--;
    const bool has_both = waited_turns_ > 0 && plain_turns_ > 0;
    if (has_both && 2 * waited_events_ * plain_turns_ < 3 * plain_events_ * waited_turns_) rest_windows_ = kRestWindows;
    window_start_ = now;
    events_ = 0;
    waited_turns_ = waited_events_ = plain_turns_ = plain_events_ = 0;
  }

  uint64_t window_start_ = 0;
  uint64_t turn_start_ = 0;
  uint64_t waited_turns_ = 0;
  uint64_t waited_events_ = 0;
  uint64_t plain_turns_ = 0;
  uint64_t plain_events_ = 0;
  uint32_t events_ = 0;
  uint32_t last_batch_ = 0;
  uint32_t rest_windows_ = 0;
  bool is_rate_high_ = false;
  bool is_waiting_ = false;
};

}  // namespace penstock

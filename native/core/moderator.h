// Whether a reactor should wait a moment for more work before it reads ("throughput"). Measured (docs/decisions, native reactor): at
// 50,000 messages/s a worker wakes for two or three of them, and waiting up to 200 us cuts its CPU per message by 10 to 25 %. The wait
// blocks the worker's JavaScript and costs latency, so it is taken only while the rate is high, the last batch was small, and the thread is
// busy without it: a processor that has time answers at once. Clients that each wait for an answer before they send again only lose by it:
// hence the rate with waits is compared with the rate without, again and again, and when waiting slows the peers down it is left off for
// a while.
// Thread safety: one thread. Pure: the caller passes the clocks (nanoseconds).
#pragma once
#include <cstdint>

namespace penstock {

class Moderator {
 public:
  static constexpr uint64_t kSpacingNs = 200'000;    // turns begin at least so far apart while it waits
  static constexpr uint64_t kWindowNs = 10'000'000;  // over which rates are taken
  static constexpr double kRateHigh = 10'000;        // sockets read per second
  static constexpr double kBusy = 0.6;               // share of a processor that the thread takes without waits
  static constexpr uint32_t kBatchSmall = 64;
  static constexpr uint32_t kPlainWindows = 4;       // a cycle begins with windows that do not wait,
  static constexpr uint32_t kCycleWindows = 64;      // and has so many in all
  static constexpr uint32_t kTrialWindows = 4;       // windows with waits before they are judged
  static constexpr double kSlowedDown = 0.6;
  static constexpr uint32_t kRestWindows = 64;

  // Nanoseconds to wait before this turn reads; 0 = none. `used` tells how long this thread has run; it is asked once a window.
  template <class Used>
  [[nodiscard]] uint64_t WaitBefore(uint64_t now, Used used) {
    if (now - window_start_ >= kWindowNs) CloseWindow(now, used());
    const uint64_t since = now - turn_start_;
    turn_start_ = now;
    if (!is_rate_high_ || IsPlain() || last_batch_ >= kBatchSmall || since >= kSpacingNs) return 0;
    turn_start_ += kSpacingNs - since;
    return kSpacingNs - since;
  }

  // After the turn: how many sockets it read.
  void TurnDone(uint32_t batch) {
    last_batch_ = batch;
    events_ += batch;
  }

 private:
  [[nodiscard]] bool IsPlain() const { return rest_ > 0 || window_ < kPlainWindows; }

  void CloseWindow(uint64_t now, uint64_t used) {
    const uint64_t elapsed = now - window_start_;
    const double share = static_cast<double>(used - used_before_) / static_cast<double>(elapsed);
    used_before_ = used;
    const double rate = static_cast<double>(events_) * 1e9 / static_cast<double>(elapsed);
    // A gap of several windows was idle time.
    is_rate_high_ = elapsed < 3 * kWindowNs && rate >= kRateHigh;
    window_start_ = now;
    events_ = 0;
    if (rest_ > 0) {
      rest_--;
      return;
    }
    const bool was_plain = IsPlain();
    (was_plain ? plain_rates_ : waited_rates_) += rate;
    if (was_plain) plain_shares_ += share;
    window_++;
    const uint32_t waited = window_ > kPlainWindows ? window_ - kPlainWindows : 0;
    const bool is_slowed_down = waited >= kTrialWindows && waited_rates_ / waited < kSlowedDown * plain_rates_ / kPlainWindows;
    if (is_slowed_down) rest_ = kRestWindows;
    const bool is_needless = was_plain && (!is_rate_high_ || (window_ == kPlainWindows && plain_shares_ < kBusy * kPlainWindows));
    if (is_slowed_down || window_ == kCycleWindows || is_needless) {
      window_ = 0;
      plain_rates_ = waited_rates_ = plain_shares_ = 0;
    }
  }

  uint64_t window_start_ = 0;
  uint64_t turn_start_ = 0;
  uint64_t used_before_ = 0;
  double plain_shares_ = 0;
  double plain_rates_ = 0;
  double waited_rates_ = 0;
  uint32_t events_ = 0;
  uint32_t last_batch_ = 0;
  uint32_t window_ = 0;
  uint32_t rest_ = 0;
  bool is_rate_high_ = false;
};

}  // namespace penstock

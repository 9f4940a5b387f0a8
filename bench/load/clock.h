// Time and the CPU time of this process, in nanoseconds.
#pragma once

#include <time.h>

#include <cstdint>

namespace load {

inline constexpr uint64_t kSecond = 1'000'000'000;
inline constexpr uint64_t kMillisecond = 1'000'000;

inline uint64_t ReadClock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecond + static_cast<uint64_t>(now.tv_nsec);
}

// Never jumps; the one clock for schedules, deadlines and latencies.
inline uint64_t NowNs() { return ReadClock(CLOCK_MONOTONIC); }

// User and system time of all threads of this program.
inline uint64_t OwnCpuNs() { return ReadClock(CLOCK_PROCESS_CPUTIME_ID); }

inline uint64_t SecondsToNs(double seconds) { return static_cast<uint64_t>(seconds * static_cast<double>(kSecond)); }

}  // namespace load

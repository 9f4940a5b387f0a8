// What a run found, and how it is printed: one JSON line on stdout.
#pragma once

#include <cstdint>
#include <string>

#include "histogram.h"
#include "options.h"

namespace load {

// CPU time and memory of the process under test at one moment. All 0 when no --target-pid was given.
struct TargetUsage {
  double user_us = 0;
  double system_us = 0;
  uint64_t resident_kb = 0;
};
TargetUsage ReadTarget(pid_t target);

// The counts of one thread's share. `messages` are the ones published, or connections made, or times served.
struct Counts {
  uint64_t messages = 0;
  uint64_t deliveries = 0;
  uint64_t bytes = 0;  // of payload, delivered
  uint64_t acknowledged = 0;
  uint64_t lost = 0;
  uint64_t duplicates = 0;
  uint64_t errors = 0;    // answers that are wrong, missing in time, or connections closed on us
  uint64_t refused = 0;   // connections that were refused or closed where that is a fair answer
  uint64_t resumed = 0;   // TLS handshakes by ticket
  std::string reason;     // the first error in words
  Histogram deliver;      // from the scheduled (or sent) time to the delivery
  Histogram acknowledge;  // ... to the acknowledgement, CONNACK, PINGRESP

  void Merge(const Counts& other);
  void Error(const std::string& what);
};

struct Window {
  uint64_t begin_ns = 0;
  uint64_t end_ns = 0;
  uint64_t own_cpu_ns = 0;
  TargetUsage before_setup;
  TargetUsage before;
  TargetUsage after;
};

void PrintResult(const Options& options, const Counts& counts, const Window& window);

// 0, or 1 when something was wrong: errors, duplicates, or losses unless --lossy.
int ExitCodeOf(const Options& options, const Counts& counts);

}  // namespace load

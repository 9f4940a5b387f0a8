// One thread's share of a run. The runner calls Setup, then Run for the warm-up, Reset, Run for the measured window.
#pragma once

#include <memory>

#include "options.h"
#include "result.h"

namespace load {

// Which connections are this thread's: [first, first + count) of the publishers or connections.
struct Share {
  uint32_t first = 0;
  uint32_t count = 0;
};

class Mode {
 public:
  virtual ~Mode() = default;
  // Opens what is needed. False (with the reason in counts) ends the program.
  [[nodiscard]] virtual bool Setup() = 0;
  // Makes load for so long, then waits until all of it is settled.
  virtual void Run(double seconds) = 0;
  // Forgets what was counted; nothing is on the way at this moment.
  virtual void Reset() { counts_ = Counts(); }
  [[nodiscard]] const Counts& counts() const { return counts_; }

 protected:
  Counts counts_;
};

// The families of modes, a file each.
std::unique_ptr<Mode> MakeTraffic(const Options& options, Share share);
std::unique_ptr<Mode> MakeConnect(const Options& options, Share share);
std::unique_ptr<Mode> MakeHold(const Options& options, Share share);
std::unique_ptr<Mode> MakeScale(const Options& options, Share share);
std::unique_ptr<Mode> MakeBadClient(const Options& options, Share share);

}  // namespace load

// A load generator for MQTT brokers: threads, phases and the gates at both ends of the measured window. See README.md.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <atomic>
#include <barrier>
#include <csignal>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "clock.h"
#include "mode.h"
#include "options.h"
#include "result.h"

namespace load {

namespace {

bool IsTraffic(const Options& options) { return options.mode == "ingest" || options.mode == "pairs" || options.mode == "fan"; }

std::unique_ptr<Mode> MakeMode(const Options& options, Share share) {
  if (IsTraffic(options)) return MakeTraffic(options, share);
  if (options.mode == "connect") return MakeConnect(options, share);
  if (options.mode == "hold") return MakeHold(options, share);
  if (IsScale(options)) return MakeScale(options, share);
  return MakeBadClient(options, share);
}

void Gate(const Options& options, const char* event) {
  if (!options.gate) return;
  std::printf("{\"event\":\"%s\"}\n", event);
  std::fflush(stdout);
  int character = 0;
  while (character != '\n' && character != EOF) character = std::getchar();
}

// The phases of all threads meet at one barrier; what lies between is done by the first thread alone.
class Runner {
 public:
  explicit Runner(const Options& options) : options_(options), barrier_(static_cast<std::ptrdiff_t>(options.threads)), modes_(options.threads) {}

  int Run() {
    window_.before_setup = ReadTarget(options_.target);
    const uint32_t total = IsTraffic(options_) ? options_.publishers : options_.connections;
    std::vector<std::jthread> threads;
    for (uint32_t thread = 0; thread < options_.threads; thread++) {
      const uint32_t first = total * thread / options_.threads;
      const Share share{first, total * (thread + 1) / options_.threads - first};
      threads.emplace_back([this, thread, share] { RunShare(thread, share); });
    }
    threads.clear();
    Counts all;
    for (const std::unique_ptr<Mode>& mode : modes_) all.Merge(mode->counts());
    PrintResult(options_, all, window_);
    return is_setup_failed_ ? 2 : ExitCodeOf(options_, all);
  }

 private:
  void RunShare(uint32_t thread, Share share) {
    prctl(PR_SET_TIMERSLACK, 1000);
    modes_[thread] = MakeMode(options_, share);
    Mode& mode = *modes_[thread];
    if (!mode.Setup()) is_setup_failed_ = true;
    barrier_.arrive_and_wait();
    if (is_setup_failed_) return;
    if (options_.warmup > 0) mode.Run(options_.warmup);
    barrier_.arrive_and_wait();
    mode.Reset();
    if (thread == 0) BeginWindow();
    barrier_.arrive_and_wait();
    mode.Run(options_.seconds);
    barrier_.arrive_and_wait();
    if (thread == 0) EndWindow();
    barrier_.arrive_and_wait();
  }

  void BeginWindow() {
    Gate(options_, "window-begins");
    window_.before = ReadTarget(options_.target);
    own_cpu_at_begin_ = OwnCpuNs();
    window_.begin_ns = NowNs();
  }

  void EndWindow() {
    window_.end_ns = NowNs();
    window_.own_cpu_ns = OwnCpuNs() - own_cpu_at_begin_;
    window_.after = ReadTarget(options_.target);
    Gate(options_, "window-ended");
  }

  const Options& options_;
  std::barrier<> barrier_;
  std::vector<std::unique_ptr<Mode>> modes_;
  Window window_;
  uint64_t own_cpu_at_begin_ = 0;
  std::atomic<bool> is_setup_failed_ = false;
};

// 10,000 connections want more descriptors than the usual soft limit.
void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace
}  // namespace load

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  load::RaiseFileLimit();
  const load::Options options = load::ParseOptions(argc, argv);
  return load::Runner(options).Run();
}

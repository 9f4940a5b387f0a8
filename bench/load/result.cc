#include "result.h"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace load {
namespace {

std::string ReadProc(pid_t pid, const char* name) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) {
    std::fprintf(stderr, "load: the target process %d is gone\n", pid);
    std::exit(3);
  }
  char text[8192];
  const size_t size = std::fread(text, 1, sizeof text, file);
  std::fclose(file);
  return std::string(text, size);
}

void PrintLatency(const char* name, const Histogram& histogram) {
  const auto microseconds = [](uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1000; };
  std::printf(",\"%s\":{\"count\":%" PRIu64 ",\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}", name, histogram.count(), microseconds(histogram.Percentile(0.5)),
              microseconds(histogram.Percentile(0.99)), microseconds(histogram.Percentile(0.999)), microseconds(histogram.maximum()));
}

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char character : text) {
    if (character == '"' || character == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(character) < 0x20 ? ' ' : character;
  }
  return quoted + "\"";
}

}  // namespace

TargetUsage ReadTarget(pid_t target) {
  TargetUsage usage;
  if (target == 0) return usage;
  const std::string stat = ReadProc(target, "stat");
  // Field 2 is the program's name in brackets and may hold spaces; fields 14 and 15 are user and system time.
  const char* at = std::strrchr(stat.c_str(), ')');
  for (int field = 2; at != nullptr && field < 14; field++) at = std::strchr(at + 1, ' ');
  if (at != nullptr) {
    char* end = nullptr;
    const double tick_us = 1e6 / static_cast<double>(sysconf(_SC_CLK_TCK));
    usage.user_us = std::strtod(at, &end) * tick_us;
    usage.system_us = std::strtod(end, &end) * tick_us;
  }
  const std::string status = ReadProc(target, "status");
  const char* resident = std::strstr(status.c_str(), "VmRSS:");
  if (resident != nullptr) usage.resident_kb = std::strtoull(resident + 6, nullptr, 10);
  return usage;
}

void Counts::Merge(const Counts& other) {
  messages += other.messages;
  deliveries += other.deliveries;
  bytes += other.bytes;
  acknowledged += other.acknowledged;
  lost += other.lost;
  duplicates += other.duplicates;
  errors += other.errors;
  refused += other.refused;
  resumed += other.resumed;
  if (reason.empty()) reason = other.reason;
  deliver.Merge(other.deliver);
  acknowledge.Merge(other.acknowledge);
}

void Counts::Error(const std::string& what) {
  errors++;
  if (reason.empty()) reason = what;
}

void PrintResult(const Options& options, const Counts& counts, const Window& window) {
  // 0 when the window was never opened.
  const double seconds = static_cast<double>(std::max<uint64_t>(1, window.end_ns - window.begin_ns)) / 1e9;
  const auto per = [](double total, uint64_t count) { return count == 0 ? 0.0 : total / static_cast<double>(count); };
  const double cpu_us = window.after.user_us + window.after.system_us - window.before.user_us - window.before.system_us;
  std::printf("{\"event\":\"result\",\"mode\":%s,\"messages\":%" PRIu64 ",\"deliveries\":%" PRIu64 ",\"payload_bytes\":%" PRIu64 ",\"acknowledged\":%" PRIu64 ",\"seconds\":%.3f,\"rate\":%.0f",
              Quoted(options.mode).c_str(), counts.messages, counts.deliveries, counts.bytes, counts.acknowledged, seconds, static_cast<double>(counts.messages) / seconds);
  std::printf(",\"lost\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"reason\":%s", counts.lost, counts.duplicates, counts.errors,
              counts.refused, counts.resumed, Quoted(counts.reason).c_str());
  std::printf(",\"own_cpu_us_per_message\":%.3f", per(static_cast<double>(window.own_cpu_ns) / 1000, counts.messages));
  PrintLatency("deliver_us", counts.deliver);
  PrintLatency("acknowledge_us", counts.acknowledge);
  if (options.target != 0) {
    std::printf(",\"target\":{\"cpu_us\":%.0f,\"user_us\":%.0f,\"cpu_us_per_message\":%.3f,\"cpu_us_per_delivery\":%.3f,\"cores\":%.2f", cpu_us, window.after.user_us - window.before.user_us,
                per(cpu_us, counts.messages), per(cpu_us, counts.deliveries), cpu_us / seconds / 1e6);
    std::printf(",\"resident_start_kb\":%" PRIu64 ",\"resident_ready_kb\":%" PRIu64 ",\"resident_end_kb\":%" PRIu64 "}", window.before_setup.resident_kb, window.before.resident_kb,
                window.after.resident_kb);
  }
  std::puts("}");
}

int ExitCodeOf(const Options& options, const Counts& counts) {
  const bool is_loss_wrong = counts.lost > 0 && !options.lossy;
  return counts.errors > 0 || counts.duplicates > 0 || is_loss_wrong ? 1 : 0;
}

}  // namespace load

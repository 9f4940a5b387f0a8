#include "options.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <string_view>

namespace load {
namespace {

struct Option {
  const char* name;
  const char* value;  // what its value is, or null for a switch
  const char* text;
  std::function<void(Options&, const std::string&)> set;
};

[[noreturn]] void Refuse(const std::string& what) {
  std::fprintf(stderr, "load: %s (see load --help)\n", what.c_str());
  std::exit(2);
}

double ToNumber(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || number < 0) Refuse("\"" + text + "\" is not a number of at least 0");
  return number;
}

uint32_t ToCount(const std::string& text) {
  const double number = ToNumber(text);
  if (number > 1e9 || number != static_cast<double>(static_cast<uint32_t>(number))) Refuse("\"" + text + "\" is not a whole number up to 1e9");
  return static_cast<uint32_t>(number);
}

using Text = const std::string&;

const Option kOptions[] = {
    {"host", "ADDRESS", "IPv4 address of the target (127.0.0.1)", [](Options& o, Text v) { o.host = v; }},
    {"port", "PORT", "its port (1883)", [](Options& o, Text v) { o.port = static_cast<uint16_t>(ToCount(v)); }},
    {"mqtt", "3|5", "3 is MQTT 3.1.1, 5 is 5.0 (3)", [](Options& o, Text v) { o.version = v == "5" ? 5 : 4; }},
    {"tls", nullptr, "TLS 1.3", [](Options& o, Text) { o.tls = true; }},
    {"cafile", "FILE", "certificates that the target's is checked against", [](Options& o, Text v) { o.ca_file = v; }},
    {"websocket", nullptr, "MQTT over WebSocket, at /mqtt", [](Options& o, Text) { o.websocket = true; }},
    {"resume", nullptr, "connect: resume TLS sessions", [](Options& o, Text) { o.resume = true; }},
    {"publishers", "N", "publishing connections (1000)", [](Options& o, Text v) { o.publishers = ToCount(v); }},
    {"subscribers", "N", "subscribing connections; pairs has as many as publishers", [](Options& o, Text v) { o.subscribers = ToCount(v); }},
    {"subscriptions", "N", "wildcards: filters of all subscribers together (1000)", [](Options& o, Text v) { o.subscriptions = ToCount(v); }},
    {"connections", "N", "connections of connect, hold and the bad clients (1000)", [](Options& o, Text v) { o.connections = ToCount(v); }},
    {"qos", "0|1|2", "quality of service, both ways (0)", [](Options& o, Text v) { o.qos = ToCount(v); }},
    {"payload", "BYTES", "payload size, at least 24 (100)", [](Options& o, Text v) { o.payload_size = ToCount(v); }},
    {"pipeline", "N", "messages in one send (1)", [](Options& o, Text v) { o.pipeline = ToCount(v); }},
    {"rate", "N", "open loop: messages a second of all publishers together", [](Options& o, Text v) { o.rate = ToNumber(v); }},
    {"tick-us", "N", "open loop: wake at most once in so many microseconds", [](Options& o, Text v) { o.tick_us = ToCount(v); }},
    {"telemetry", nullptr, "JSON of two numbers on devices/{index}/telemetry", [](Options& o, Text) { o.telemetry = true; }},
    {"lossy", nullptr, "lost messages do not make the exit code 1", [](Options& o, Text) { o.lossy = true; }},
    {"count", "N", "blocking, retained: messages; reset: connections (10000)", [](Options& o, Text v) { o.count = ToCount(v); }},
    {"seconds", "S", "measured window (5)", [](Options& o, Text v) { o.seconds = ToNumber(v); }},
    {"warmup", "S", "before it (1)", [](Options& o, Text v) { o.warmup = ToNumber(v); }},
    {"interval", "S", "hold: each connection is served once in so long (60)", [](Options& o, Text v) { o.interval = ToNumber(v); }},
    {"hold-publish", nullptr, "hold: serve by a QoS 1 publish, not by PINGREQ", [](Options& o, Text) { o.hold_publish = true; }},
    {"deadline", "S", "no phase may take longer beyond its own time (60)", [](Options& o, Text v) { o.deadline = ToNumber(v); }},
    {"concurrency", "N", "connections being opened at the same time (64)", [](Options& o, Text v) { o.concurrency = ToCount(v); }},
    {"threads", "N", "threads, each with its share of the connections (1)", [](Options& o, Text v) { o.threads = ToCount(v); }},
    {"sources", "N", "source addresses 127.0.0.1, .2, ... (as many as ports need)", [](Options& o, Text v) { o.sources = ToCount(v); }},
    {"topic", "PREFIX", "topics are PREFIX/{index} (bench/load)", [](Options& o, Text v) { o.topic = v; }},
    {"client", "PREFIX", "client ids are PREFIX-{index} (load)", [](Options& o, Text v) { o.client = v; }},
    {"target-pid", "PID", "read CPU time and memory of this process", [](Options& o, Text v) { o.target = static_cast<pid_t>(ToCount(v)); }},
    {"gate", nullptr, "print {\"event\":...} at both ends of the window and wait there for a line", [](Options& o, Text) { o.gate = true; }},
};

[[noreturn]] void PrintHelp() {
  std::puts(
      "load MODE [options]: a load generator for MQTT brokers; prints one JSON line\n"
      "  ingest      publishers alone. QoS 0: one send after the other round all connections, as fast as sockets\n"
      "              take them; QoS 1, 2: the next when the acknowledgement of the last came\n"
      "  pairs       publisher i -> subscriber i, the next when the last was delivered (and acknowledged)\n"
      "  fan         every publisher -> every subscriber, the next when all of them have the last\n"
      "  connect     opens connections up to CONNACK and closes them, --concurrency at a time\n"
      "  hold        keeps --connections open and serves each once in --interval\n"
      "  wildcards   among --subscriptions filters each message, on a topic never seen before, matches one\n"
      "  retained    --count retained messages are published, then one client subscribes to all\n"
      "  storm       --connections are cut and come back at once, while --publishers publish QoS 1 at --rate\n"
      "Bad clients, to run beside a healthy one (a flood is ingest with --pipeline 100 --lossy):\n"
      "  never-read  --connections subscribe and never read, while one more publishes to them at --rate\n"
      "  slow-loris  --connections that send a byte of their first packet a second\n"
      "  reset       connects, writes a part of CONNECT and resets, --count times\n"
      "  blocking    one connection subscribes, writes --count messages to its own topic by blocking calls, then reads\n"
      "Options:");
  for (const Option& option : kOptions) {
    std::printf("  --%-14s %-8s %s\n", option.name, option.value == nullptr ? "" : option.value, option.text);
  }
  std::exit(0);
}

constexpr std::string_view kModes[] = {"ingest", "pairs", "fan", "connect", "hold", "wildcards", "retained", "storm", "never-read", "slow-loris", "reset", "blocking"};

void Check(const Options& options) {
  if (std::find(std::begin(kModes), std::end(kModes), options.mode) == std::end(kModes)) Refuse("no such mode: \"" + options.mode + "\"");
  if (options.qos > 2) Refuse("--qos is 0, 1 or 2");
  if (options.payload_size < 24 || options.payload_size > 1'000'000) Refuse("--payload is from 24 to 1000000");
  if (options.publishers == 0 || options.connections == 0 || options.pipeline == 0 || options.concurrency == 0 || options.threads == 0) {
    Refuse("a count is at least 1");
  }
  if (options.tls && options.ca_file.empty()) Refuse("--tls needs --cafile");
  if (options.telemetry && options.mode != "ingest") Refuse("--telemetry goes with ingest");
  if (options.mode == "storm" && (options.rate == 0 || options.connections < 2)) Refuse("storm needs --rate, and --connections of at least 2");
  if (options.subscriptions == 0 || options.count == 0) Refuse("a count is at least 1");
  if (options.threads > 1 && (options.mode == "fan" || IsScale(options))) Refuse(options.mode + " runs on one thread: its connections depend on each other");
}

}  // namespace

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int index = 1; index < argc; index++) {
    const std::string_view argument = argv[index];
    if (argument == "--help") PrintHelp();
    if (!argument.starts_with("--")) {
      if (!options.mode.empty()) Refuse("two modes: " + options.mode + " and " + std::string(argument));
      options.mode = argument;
      continue;
    }
    const Option* found = nullptr;
    for (const Option& option : kOptions) {
      if (argument.substr(2) == option.name) found = &option;
    }
    if (found == nullptr) Refuse("no such option: " + std::string(argument));
    if (found->value == nullptr) {
      found->set(options, "");
      continue;
    }
    if (++index == argc) Refuse(std::string(argument) + " wants " + found->value);
    found->set(options, argv[index]);
  }
  Check(options);
  // One thread publishes, the other comes back.
  if (options.mode == "storm") options.threads = 2;
  return options;
}

}  // namespace load

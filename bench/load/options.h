// What the command line asks for. `load --help` prints the same with words.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace load {

struct Options {
  std::string mode;
  std::string host = "127.0.0.1";
  uint16_t port = 1883;
  uint32_t version = 4;  // MQTT protocol level: 4 is 3.1.1, 5 is 5.0

  bool tls = false;
  std::string ca_file;
  bool websocket = false;
  bool resume = false;  // connect: resume TLS sessions from tickets

  uint32_t publishers = 1000;
  uint32_t subscribers = 0;
  uint32_t subscriptions = 1000;  // wildcards: filters of all subscribers together
  uint32_t connections = 1000;  // of the modes that have no publishers
  uint32_t qos = 0;
  uint32_t payload_size = 100;
  uint32_t pipeline = 1;     // messages in one send
  double rate = 0;           // messages a second of the open loop; 0 is the closed loop
  uint32_t tick_us = 0;      // open loop: wake at most this often, and send what is due
  bool telemetry = false;    // JSON of two numbers on devices/{index}/telemetry
  bool lossy = false;        // lost messages are counted but are not a failure

  uint32_t count = 10'000;   // blocking, reset, retained: messages or connections

  double seconds = 5;
  double warmup = 1;
  double interval = 60;        // hold: each connection is served once in so many seconds
  double deadline = 60;        // no phase takes longer than this beyond its own duration
  bool hold_publish = false;   // hold: serve by a QoS 1 publish in place of PINGREQ
  uint32_t concurrency = 64;   // connections being opened at the same time
  uint32_t threads = 1;
  uint32_t sources = 0;        // source addresses 127.0.0.1, .2, ...; 0 is as many as the ports need
  std::string topic = "bench/load";
  std::string client = "load";

  pid_t target = 0;   // process whose CPU time and memory are read around the measured window
  bool gate = false;  // says on stdout where the window begins and ends, and waits there for a line on stdin
};

[[nodiscard]] inline bool IsScale(const Options& options) { return options.mode == "wildcards" || options.mode == "retained" || options.mode == "storm"; }

// Reads the command line. On a mistake it prints what is wrong and how to call, and ends with exit code 2.
Options ParseOptions(int argc, char** argv);

}  // namespace load

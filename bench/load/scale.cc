// The modes about large numbers: wildcards (a match among many subscriptions), retained (many retained messages for one SUBSCRIBE) and
// storm (everybody reconnects at once while others go on publishing).
// Thread safety: one object a thread; options.cc sees to it that wildcards and retained have one thread, storm two: one for its publishers, whose
// latency must not be that of a thread busy with handshakes.
#include <algorithm>
#include <atomic>
#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "clock.h"
#include "fleet.h"
#include "mode.h"
#include "payload.h"

namespace load {
namespace {

// As many receiving sockets at every number of subscriptions, since each costs a send; brokers limit the subscriptions of one client.
constexpr uint32_t kReceivers = 200;
constexpr uint32_t kSubscriptionsPerClient = 500;
constexpr uint32_t kSubscribesAtOnce = 100;
// Nothing new for so long: what is missing is lost.
constexpr uint64_t kStall = 10 * kSecond;
constexpr uint64_t kRetry = 200 * kMillisecond;
constexpr size_t kWriteSize = 64 * 1024;

bool ConnectOrSay(Fleet& fleet, Handler& handler, Counts& counts) {
  const uint32_t missing = fleet.ConnectAll(handler);
  if (missing > 0) counts.Error(std::to_string(missing) + " connections did not come up: " + fleet.last_reason());
  return missing == 0;
}

// Every message has a topic of its own, which no cache of topics can know, and matches one of --subscriptions filters with wildcards.
// Closed loop: a publisher's next message goes out when its last one was delivered.
class Wildcards : public Mode, private Handler {
 public:
  explicit Wildcards(const Options& options)
      : options_(options),
        receivers_(std::max(std::min(kReceivers, options.subscriptions), (options.subscriptions + kSubscriptionsPerClient - 1) / kSubscriptionsPerClient)),
        fleet_(options, options.publishers + receivers_, 0),
        sequences_(options.publishers) {}

  bool Setup() override {
    if (!ConnectOrSay(fleet_, *this, counts_)) return false;
    for (uint32_t receiver = 0; receiver < receivers_; receiver++) {
      uint16_t packet_id = 0;
      for (uint32_t number = receiver; number < options_.subscriptions; number += receivers_) {
        fleet_.Write(options_.publishers + receiver, EncodeSubscribe(FilterOf(number), 0, options_.version, ++packet_id));
        subacks_++;
        if (packet_id % kSubscribesAtOnce == 0 && !WaitForSubacks()) return false;
      }
      if (!WaitForSubacks()) return false;
    }
    return true;
  }

  void Run(double seconds) override {
    const uint64_t end = NowNs() + SecondsToNs(seconds);
    is_sending_ = true;
    for (uint32_t publisher = 0; publisher < options_.publishers; publisher++) Send(publisher);
    while (NowNs() < end) fleet_.Poll(100 * kMillisecond, *this);
    is_sending_ = false;
    fleet_.PollUntil([this] { return outstanding_ == 0; }, NowNs() + kStall, *this);
    counts_.lost += outstanding_;
    outstanding_ = 0;
  }

 private:
  bool WaitForSubacks() {
    if (fleet_.PollUntil([this] { return subacks_ == 0; }, NowNs() + SecondsToNs(options_.deadline), *this) && counts_.errors == 0) return true;
    counts_.Error("SUBACKs did not come in time");
    return false;
  }

  std::string FilterOf(uint32_t number) const { return options_.topic + "/" + std::to_string(number) + (number % 2 == 0 ? "/+/x" : "/#"); }

  void Send(uint32_t publisher) {
    const uint32_t number = std::uniform_int_distribution<uint32_t>(0, options_.subscriptions - 1)(random_);
    const uint32_t sequence = ++sequences_[publisher];
    const std::string topic = options_.topic + "/" + std::to_string(number) + "/" + std::to_string(publisher) + "-" + std::to_string(sequence) + "/x";
    PublishTemplate made = EncodePublish(topic, options_.payload_size, 0, options_.version);
    WriteStamp(made.bytes.data() + made.payload_at, {publisher, sequence, NowNs()});
    counts_.messages++;
    outstanding_++;
    fleet_.Write(publisher, made.bytes);
  }

  void OnPacket(uint32_t index, const Packet& packet) override {
    if (packet.type() == kSuback) {
      subacks_--;
      if (packet.body.empty() || packet.body.back() > 2) counts_.Error("a subscription was refused");
      return;
    }
    uint16_t packet_id = 0;
    std::span<const uint8_t> payload;
    Stamp stamp{};
    if (packet.type() != kPublish || index < options_.publishers || !ReadPublish(packet, options_.version, packet_id, payload) || !ReadStamp(payload, stamp) ||
        stamp.publisher >= options_.publishers) {
      return counts_.Error("a packet that nobody asked for");
    }
    if (stamp.sequence != sequences_[stamp.publisher]) {
      counts_.duplicates++;
      return;
    }
    counts_.deliveries++;
    counts_.bytes += payload.size();
    counts_.deliver.Record(NowNs() - stamp.time_ns);
    outstanding_--;
    if (is_sending_) Send(stamp.publisher);
  }

  void OnClosed(uint32_t, const std::string& reason) override { counts_.Error(reason); }

  const Options& options_;
  const uint32_t receivers_;
  Fleet fleet_;  // publishers first
  std::vector<uint32_t> sequences_;
  std::mt19937 random_{1};
  uint32_t subacks_ = 0;
  uint32_t outstanding_ = 0;
  bool is_sending_ = false;
};

// Publishes --count retained messages, a topic each, before the window; in it one client subscribes to all of them.
class RetainedMany : public Mode, private Handler {
 public:
  explicit RetainedMany(const Options& options) : options_(options), fleet_(options, 2, 0) {}

  bool Setup() override {
    if (!ConnectOrSay(fleet_, *this, counts_)) return false;
    std::string bytes;
    for (uint32_t number = 0; number < options_.count; number++) {
      PublishTemplate made = EncodePublish(options_.topic + "/" + std::to_string(number) + "/state", options_.payload_size, 0, options_.version);
      made.bytes[0] = static_cast<char>(made.bytes[0] | 1);  // RETAIN
      WriteStamp(made.bytes.data() + made.payload_at, {number, 1, 0});
      bytes += made.bytes;
      if (bytes.size() < kWriteSize && number + 1 < options_.count) continue;
      fleet_.Write(0, bytes);
      bytes.clear();
      if (!fleet_.PollUntil([this] { return !fleet_.IsBlocked(0) || !fleet_.IsReady(0); }, NowNs() + SecondsToNs(options_.deadline), *this)) break;
    }
    fleet_.Write(0, kPingreqBytes);
    if (fleet_.PollUntil([this] { return is_pinged_; }, NowNs() + SecondsToNs(options_.deadline), *this)) return true;
    counts_.Error("the retained messages were not taken in time");
    return false;
  }

  void Run(double) override {
    got_.assign(options_.count, false);
    began_at_ = NowNs();
    fleet_.Write(1, EncodeSubscribe(options_.topic + "/#", 0, options_.version));
    uint64_t before = 0;
    uint64_t progress_at = began_at_;
    while (counts_.messages < options_.count && NowNs() - progress_at < kStall) {
      fleet_.Poll(100 * kMillisecond, *this);
      if (counts_.messages != before) progress_at = NowNs();
      before = counts_.messages;
    }
    counts_.lost = options_.count - counts_.messages;
  }

 private:
  void OnPacket(uint32_t index, const Packet& packet) override {
    if (packet.type() == kPingresp) is_pinged_ = true;
    if (packet.type() != kPublish) return;
    uint16_t packet_id = 0;
    std::span<const uint8_t> payload;
    Stamp stamp{};
    if (index != 1 || (packet.first & 1) == 0 || !ReadPublish(packet, options_.version, packet_id, payload) || !ReadStamp(payload, stamp) || stamp.publisher >= options_.count) {
      return counts_.Error("a delivery that is none of the retained messages");
    }
    if (got_[stamp.publisher]) {
      counts_.duplicates++;
      return;
    }
    got_[stamp.publisher] = true;
    counts_.messages++;
    counts_.deliveries++;
    counts_.bytes += payload.size();
    counts_.deliver.Record(NowNs() - began_at_);
  }

  void OnClosed(uint32_t, const std::string& reason) override { counts_.Error(reason); }

  const Options& options_;
  Fleet fleet_;  // the publisher, then the subscriber
  std::vector<bool> got_;
  uint64_t began_at_ = 0;
  bool is_pinged_ = false;
};

// The clients of a storm that are not back; the two threads of a run meet here.
std::atomic<uint32_t> clients_away = 0;

// A storm's publishers: QoS 1 at --rate until the window is over and all clients are back. `acknowledge` counts from when a PUBLISH was due.
class StormPublishers : public Mode, private Handler {
 public:
  explicit StormPublishers(const Options& options) : options_(options), fleet_(options, options.publishers, 0), sent_at_(options.publishers) {
    const PublishTemplate made = EncodePublish(options.topic + "/storm", options.payload_size, 1, options.version);
    publish_ = made.bytes;
    publish_[made.packet_id_at + 1] = 1;
    clients_away = options.connections;
  }

  bool Setup() override { return ConnectOrSay(fleet_, *this, counts_); }

  void Reset() override {
    Mode::Reset();
    clients_away = options_.connections;
  }

  void Run(double seconds) override {
    const uint64_t begin = NowNs();
    const uint64_t end = begin + SecondsToNs(seconds);
    const uint64_t deadline = end + SecondsToNs(options_.deadline);
    const double period = static_cast<double>(kSecond) / options_.rate;
    uint64_t count = 0;
    uint64_t due = begin;
    for (uint64_t now = begin; (now < end || clients_away > 0) && now < deadline; now = NowNs()) {
      for (; due <= now; due = begin + static_cast<uint64_t>(static_cast<double>(++count) * period)) Publish(due);
      fleet_.Poll(due - now, *this);
    }
    if (!fleet_.PollUntil([this] { return waiting_ == 0; }, NowNs() + SecondsToNs(options_.deadline), *this)) {
      counts_.Error(std::to_string(waiting_) + " PUBLISHes were not acknowledged");
    }
  }

 private:
  void Publish(uint64_t due) {
    const uint32_t publisher = next_;
    next_ = (next_ + 1) % options_.publishers;
    if (!fleet_.IsReady(publisher)) return;
    sent_at_[publisher].push_back(due);
    waiting_++;
    counts_.messages++;
    fleet_.Write(publisher, publish_);
  }

  void OnPacket(uint32_t index, const Packet& packet) override {
    if (packet.type() != kPuback || sent_at_[index].empty()) return counts_.Error("an answer that nobody asked for");
    counts_.acknowledge.Record(NowNs() - sent_at_[index].front());
    counts_.acknowledged++;
    sent_at_[index].pop_front();
    waiting_--;
  }

  void OnClosed(uint32_t, const std::string& reason) override { counts_.Error(reason); }

  const Options& options_;
  Fleet fleet_;
  std::vector<std::deque<uint64_t>> sent_at_;
  std::string publish_;
  uint32_t next_ = 0;
  uint64_t waiting_ = 0;
};

// A storm's clients: in the window all lose their connection at once and come back, --concurrency at a time, again and again until they
// are let in. `deliver` counts from the loss to the return.
class StormClients : public Mode, private Handler {
 public:
  explicit StormClients(const Options& options) : options_(options), fleet_(options, options.connections, options.publishers) {}

  bool Setup() override { return ConnectOrSay(fleet_, *this, counts_); }

  void Run(double seconds) override {
    began_at_ = NowNs();
    for (uint32_t client = 0; client < fleet_.size(); client++) {
      fleet_.Close(client, true);
      away_.push_back({began_at_, client});
    }
    const uint64_t deadline = began_at_ + SecondsToNs(seconds + options_.deadline);
    for (uint64_t now = began_at_; clients_away > 0 && now < deadline; now = NowNs()) {
      while (!away_.empty() && opening_ < options_.concurrency && away_.front().first <= now) {
        fleet_.Open(away_.front().second);
        away_.pop_front();
        opening_++;
      }
      fleet_.Poll(10 * kMillisecond, *this);
    }
    if (clients_away > 0) counts_.Error(std::to_string(clients_away) + " clients did not come back");
    clients_away = 0;
  }

 private:
  void OnReady(uint32_t) override {
    if (began_at_ == 0) return;  // of Setup
    opening_--;
    clients_away--;
    counts_.deliveries++;
    counts_.deliver.Record(NowNs() - began_at_);
  }

  void OnPacket(uint32_t, const Packet&) override { counts_.Error("a packet that nobody asked for"); }

  void OnClosed(uint32_t index, const std::string& reason) override {
    if (began_at_ == 0) return counts_.Error(reason);
    // Refused for now, as the limits say: it tries again a little later.
    opening_--;
    counts_.refused++;
    away_.push_back({NowNs() + kRetry, index});
  }

  const Options& options_;
  Fleet fleet_;
  std::deque<std::pair<uint64_t, uint32_t>> away_;  // when to open, who
  uint64_t began_at_ = 0;
  uint32_t opening_ = 0;
};

}  // namespace

std::unique_ptr<Mode> MakeScale(const Options& options, Share share) {
  if (options.mode == "wildcards") return std::make_unique<Wildcards>(options);
  if (options.mode == "retained") return std::make_unique<RetainedMany>(options);
  if (share.first == 0) return std::make_unique<StormPublishers>(options);
  return std::make_unique<StormClients>(options);
}

}  // namespace load

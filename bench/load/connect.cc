// The modes about connections as such: connect (how many can be made a second) and hold (what keeping them costs).
// Thread safety: one object a thread.
#include <algorithm>
#include <string>
#include <vector>

#include "clock.h"
#include "fleet.h"
#include "mode.h"

namespace load {
namespace {

// Opens --concurrency connections at a time: TCP, TLS, CONNECT, CONNACK, DISCONNECT, close; then the next.
class Connect : public Mode, private Handler {
 public:
  Connect(const Options& options, Share share) : options_(options), fleet_(options, std::max(1U, options.concurrency / options.threads), share.first) {}

  bool Setup() override { return true; }

  void Run(double seconds) override {
    const uint64_t end = NowNs() + SecondsToNs(seconds);
    for (uint32_t index = 0; index < fleet_.size(); index++) fleet_.Open(index);
    uint32_t open = fleet_.size();
    const uint64_t deadline = end + SecondsToNs(options_.deadline);
    while (open > 0 && NowNs() < deadline) {
      fleet_.Poll(100 * kMillisecond, *this);
      // Reopened here and not in the handler, under which the connection is still being read.
      for (const uint32_t index : done_) {
        fleet_.Close(index);
        if (NowNs() < end) {
          fleet_.Open(index);
        } else {
          open--;
        }
      }
      done_.clear();
    }
    if (open > 0) counts_.Error(std::to_string(open) + " connections did not come up in time");
  }

 private:
  void OnPacket(uint32_t, const Packet&) override { counts_.Error("a packet after CONNACK that nobody asked for"); }

  void OnReady(uint32_t index) override {
    counts_.acknowledge.Record(NowNs() - fleet_.opened_at(index));
    counts_.messages++;
    if (fleet_.WasResumed(index)) counts_.resumed++;
    fleet_.Write(index, kDisconnectBytes);
    // The tickets of TLS 1.3 come before CONNACK, so they are in by now.
    done_.push_back(index);
  }

  void OnClosed(uint32_t index, const std::string& reason) override {
    counts_.Error(reason);
    done_.push_back(index);
  }

  const Options& options_;
  Fleet fleet_;
  std::vector<uint32_t> done_;
};

// Keeps connections open and serves each once in --interval; all are served evenly over it.
class Hold : public Mode, private Handler {
 public:
  Hold(const Options& options, Share share) : options_(options), share_(share), fleet_(options, share.count, share.first), sent_at_(share.count) {
    const PublishTemplate made = EncodePublish(options.topic + "/" + std::to_string(share.first), options.payload_size, 1, options.version);
    publish_ = made.bytes;
    publish_[made.packet_id_at + 1] = 1;
  }

  bool Setup() override {
    const uint32_t missing = fleet_.ConnectAll(*this);
    if (missing > 0) counts_.Error(std::to_string(missing) + " connections did not come up: " + fleet_.last_reason());
    return missing == 0;
  }

  void Run(double seconds) override {
    const uint64_t begin = NowNs();
    const uint64_t end = begin + SecondsToNs(seconds);
    const double period = options_.interval * static_cast<double>(kSecond) / share_.count;
    uint64_t count = 0;
    uint64_t due = begin;
    // Whoever is due within the window is served, even when this program got its turn late.
    while (due < end) {
      const uint64_t now = NowNs();
      for (; due <= now && due < end; due = begin + static_cast<uint64_t>(static_cast<double>(++count) * period)) Serve(due);
      fleet_.Poll(std::max(now, std::min(due, end)) - now, *this);
    }
    if (!fleet_.PollUntil([this] { return waiting_ == 0; }, NowNs() + SecondsToNs(options_.deadline), *this)) {
      counts_.Error(std::to_string(waiting_) + " connections were not answered in time");
    }
  }

 private:
  void Serve(uint64_t due) {
    const uint32_t index = next_;
    next_ = (next_ + 1) % share_.count;
    if (!fleet_.IsReady(index) || sent_at_[index] != 0) return;
    sent_at_[index] = due;
    waiting_++;
    counts_.messages++;
    fleet_.Write(index, options_.hold_publish ? std::string_view(publish_) : kPingreqBytes);
  }

  void OnPacket(uint32_t index, const Packet& packet) override {
    if (packet.type() != (options_.hold_publish ? kPuback : kPingresp) || sent_at_[index] == 0) return counts_.Error("an answer that nobody asked for");
    const uint64_t now = NowNs();
    counts_.acknowledge.Record(now - std::min(now, sent_at_[index]));
    counts_.acknowledged++;
    sent_at_[index] = 0;
    waiting_--;
  }

  void OnClosed(uint32_t index, const std::string& reason) override {
    counts_.Error(reason);
    if (sent_at_[index] != 0) waiting_--;
    sent_at_[index] = 0;
  }

  const Options& options_;
  const Share share_;
  Fleet fleet_;
  std::vector<uint64_t> sent_at_;  // 0 while nothing is asked for
  std::string publish_;
  uint32_t next_ = 0;
  uint32_t waiting_ = 0;
};

}  // namespace

std::unique_ptr<Mode> MakeConnect(const Options& options, Share share) { return std::make_unique<Connect>(options, share); }
std::unique_ptr<Mode> MakeHold(const Options& options, Share share) { return std::make_unique<Hold>(options, share); }

}  // namespace load

// The modes that publish: ingest, pairs and fan, in a closed loop (the next batch when the last one is settled), in an
// open loop (a schedule that waits for nobody), or, for QoS 0 without subscribers, as fast as the sockets take it.
// Thread safety: one object a thread.
// Invariants:
//   (1) `outstanding_` is the sum of the publishers' `outstanding`: answers (deliveries and acknowledgements) to come.
//   (2) `expected_[flow]` is the sequence that comes next from one publisher to one subscriber; a larger one means that
//       those between are lost, a smaller one is a duplicate.
#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "clock.h"
#include "fleet.h"
#include "mode.h"
#include "payload.h"

namespace load {
namespace {

// A batch without all its answers after so long is given up (a QoS 0 delivery may be dropped), and the next is sent.
constexpr uint64_t kStall = 5 * kSecond;
// Sends between two looks at the sockets, when there is always more to send.
constexpr uint32_t kSendsPerPoll = 64;
// 141 bytes is the whole PUBLISH at QoS 0 with a payload of 100.
constexpr size_t kTopicSize = 36;

struct Publisher {
  std::string batch;         // `pipeline` packets, one after the other
  size_t packet_size = 0;
  size_t packet_id_at = 0;
  size_t payload_at = 0;
  uint32_t sequence = 0;     // of the next message
  uint32_t batch_first = 0;  // of the batch that is on the way
  uint32_t outstanding = 0;
  uint32_t unacknowledged = 0;
  uint16_t packet_id = 0;    // of the last message
  uint16_t acknowledged = 0;
  uint64_t sent_at = 0;
  std::deque<uint64_t> times;  // when those without acknowledgement were due
};

uint16_t NextPacketId(uint16_t packet_id) { return packet_id == 65535 ? 1 : static_cast<uint16_t>(packet_id + 1); }

class Traffic : public Mode, private Handler {
 public:
  Traffic(const Options& options, Share share)
      : options_(options),
        share_(share),
        is_pairs_(options.mode == "pairs"),
        subscribers_(is_pairs_ ? share.count : options.mode == "fan" ? options.subscribers : 0),
        deliveries_per_message_(is_pairs_ ? 1 : subscribers_),
        answers_per_message_(deliveries_per_message_ + (options.qos > 0 ? 1 : 0)),
        fleet_(options, share.count + subscribers_, share.first * (is_pairs_ ? 2 : 1)),
        publishers_(share.count),
        expected_(is_pairs_ ? share.count : static_cast<size_t>(share.count) * subscribers_) {}

  bool Setup() override {
    const uint32_t missing = fleet_.ConnectAll(*this);
    if (missing > 0) {
      counts_.Error(std::to_string(missing) + " connections did not come up: " + fleet_.last_reason());
      return false;
    }
    for (uint32_t index = 0; index < share_.count; index++) Prepare(index);
    for (uint32_t subscriber = 0; subscriber < subscribers_; subscriber++) {
      const std::string filter = is_pairs_ ? TopicOf(subscriber) : options_.topic + "/+";
      if (!fleet_.Subscribe(share_.count + subscriber, filter, options_.qos)) {
        counts_.Error("a subscription was refused, or not answered in time");
        return false;
      }
    }
    return true;
  }

  void Run(double seconds) override {
    const uint64_t end = NowNs() + SecondsToNs(seconds);
    if (options_.rate > 0) {
      RunPaced(end);
    } else if (answers_per_message_ == 0) {
      RunFree(end);
    } else {
      RunClosed(end);
    }
    if (answers_per_message_ == 0) {
      WaitForPings();
    } else {
      WaitForAnswers();
    }
  }

 private:
  std::string TopicOf(uint32_t index) const {
    const std::string number = std::to_string(share_.first + index);
    if (options_.telemetry) return "devices/" + number + "/telemetry";
    const size_t used = options_.topic.size() + 1 + number.size();
    return options_.topic + "/" + std::string(used < kTopicSize ? kTopicSize - used : 0, '0') + number;
  }

  void Prepare(uint32_t index) {
    Publisher& publisher = publishers_[index];
    const PublishTemplate made = EncodePublish(TopicOf(index), options_.telemetry ? kTelemetrySize : options_.payload_size, options_.qos, options_.version);
    publisher.packet_size = made.bytes.size();
    publisher.packet_id_at = made.packet_id_at;
    publisher.payload_at = made.payload_at;
    for (uint32_t copy = 0; copy < options_.pipeline; copy++) publisher.batch += made.bytes;
  }

  // Sends one batch; `due` is the time that latencies count from.
  void Send(uint32_t index, uint64_t due) {
    Publisher& publisher = publishers_[index];
    publisher.sent_at = due;
    publisher.batch_first = publisher.sequence;
    char* packet = publisher.batch.data();
    for (uint32_t copy = 0; copy < options_.pipeline; copy++, packet += publisher.packet_size) {
      if (options_.telemetry) {
        WriteTelemetry(packet + publisher.payload_at, publisher.sequence);
      } else {
        WriteStamp(packet + publisher.payload_at, {share_.first + index, publisher.sequence, due});
      }
      publisher.sequence++;
      if (options_.qos == 0) continue;
      publisher.packet_id = NextPacketId(publisher.packet_id);
      WriteU16(reinterpret_cast<uint8_t*>(packet) + publisher.packet_id_at, publisher.packet_id);
      publisher.times.push_back(due);
      publisher.unacknowledged++;
    }
    const uint32_t answers = options_.pipeline * answers_per_message_;
    publisher.outstanding += answers;
    outstanding_ += answers;
    counts_.messages += options_.pipeline;
    fleet_.Write(index, publisher.batch);
  }

  // QoS 0, nobody listens: nothing tells that a message arrived, so the sockets alone set the pace.
  void RunFree(uint64_t end) {
    while (NowNs() < end) {
      uint32_t sent = 0;
      for (uint32_t index = 0; index < share_.count; index++) {
        if (fleet_.IsBlocked(index) || !fleet_.IsReady(index)) continue;
        Send(index, 0);
        if (++sent % kSendsPerPoll == 0 && NowNs() >= end) break;
      }
      fleet_.Poll(sent == 0 ? kMillisecond : 0, *this);
    }
  }

  void RunClosed(uint64_t end) {
    is_sending_ = true;
    const uint64_t begin = NowNs();
    for (uint32_t index = 0; index < share_.count; index++) {
      if (fleet_.IsReady(index)) Send(index, begin);
    }
    uint64_t look_for_stalls_at = begin + kStall;
    for (uint64_t now = begin; now < end; now = NowNs()) {
      fleet_.Poll(std::min(end - now, 100 * kMillisecond), *this);
      if (now < look_for_stalls_at) continue;
      look_for_stalls_at = now + kStall / 10;
      for (uint32_t index = 0; index < share_.count; index++) {
        Publisher& publisher = publishers_[index];
        // Those sent within this turn are later than `now`.
        if (publisher.outstanding == 0 || publisher.sent_at + kStall > now || !fleet_.IsReady(index)) continue;
        GiveUp(publisher);
        Send(index, now);
      }
    }
    is_sending_ = false;
  }

  void RunPaced(uint64_t end) {
    const double period = static_cast<double>(kSecond) * options_.threads * options_.pipeline / options_.rate;
    const uint64_t begin = NowNs();
    uint64_t count = 0;
    uint64_t due = begin;
    // The whole schedule is sent, even when this program got its turn late: what is left out would be the slowest part.
    const uint64_t deadline = end + SecondsToNs(options_.deadline);
    for (uint64_t now = begin; due < end && now < deadline; now = NowNs()) {
      for (uint32_t sent = 0; due <= now && due < end && sent < kSendsPerPoll; sent++) {
        if (fleet_.IsReady(next_publisher_)) Send(next_publisher_, due);
        next_publisher_ = (next_publisher_ + 1) % share_.count;
        due = begin + static_cast<uint64_t>(static_cast<double>(++count) * period);
      }
      const uint64_t wake = std::max(due, now + uint64_t{options_.tick_us} * 1000);
      fleet_.Poll(due <= now ? 0 : wake - now, *this);
    }
  }

  // The last messages of each connection were read by the target when it answers a PINGREQ that came after them.
  void WaitForPings() {
    pings_ = 0;
    for (uint32_t index = 0; index < share_.count; index++) {
      if (!fleet_.IsReady(index)) continue;
      fleet_.Write(index, kPingreqBytes);
      pings_++;
    }
    if (!fleet_.PollUntil([this] { return pings_ == 0; }, NowNs() + SecondsToNs(options_.deadline), *this)) {
      counts_.Error(std::to_string(pings_) + " PINGREQs at the end were not answered in time");
    }
  }

  void WaitForAnswers() {
    const uint64_t deadline = NowNs() + SecondsToNs(options_.deadline);
    uint64_t before = outstanding_;
    uint64_t progress_at = NowNs();
    while (outstanding_ > 0 && NowNs() < deadline && NowNs() - progress_at < kStall) {
      fleet_.Poll(100 * kMillisecond, *this);
      if (outstanding_ != before) progress_at = NowNs();
      before = outstanding_;
    }
    for (Publisher& publisher : publishers_) GiveUp(publisher);
    for (size_t flow = 0; flow < expected_.size(); flow++) {
      const uint32_t sent = publishers_[flow % share_.count].sequence;
      counts_.lost += sent - expected_[flow];
      expected_[flow] = sent;
    }
  }

  // Whatever has not come is not waited for any more. Losses are counted by their sequence, missing acknowledgements here.
  void GiveUp(Publisher& publisher) {
    outstanding_ -= publisher.outstanding;
    publisher.outstanding = 0;
    for (; publisher.unacknowledged > 0; publisher.unacknowledged--) counts_.Error("an acknowledgement did not come");
    publisher.acknowledged = publisher.packet_id;
    publisher.times.clear();
  }

  void OnPacket(uint32_t index, const Packet& packet) override {
    if (read_at_ == 0) read_at_ = NowNs();
    switch (packet.type()) {
      case kPublish:
        return OnPublish(index, packet);
      case kPuback:
      case kPubcomp:
        return OnAcknowledged(index, packet);
      case kPubrec:
        return AppendAck(replies_, kPubrel, ReadU16(packet.body.data()));
      case kPubrel:
        return AppendAck(replies_, kPubcomp, ReadU16(packet.body.data()));
      case kPingresp:
        pings_--;
        return;
      default:
        counts_.Error("a packet of type " + std::to_string(packet.type()) + " was not expected");
    }
  }

  void OnReadEnd(uint32_t index) override {
    read_at_ = 0;
    if (replies_.empty()) return;
    fleet_.Write(index, replies_);
    replies_.clear();
  }

  void OnPublish(uint32_t index, const Packet& packet) {
    uint16_t packet_id = 0;
    std::span<const uint8_t> payload;
    Stamp stamp{};
    if (index < share_.count || !ReadPublish(packet, options_.version, packet_id, payload) || !ReadStamp(payload, stamp) || stamp.publisher - share_.first >= share_.count) {
      return counts_.Error("a delivery that nobody sent");
    }
    if (packet.qos() > 0) AppendAck(replies_, packet.qos() == 1 ? kPuback : kPubrec, packet_id);
    const uint32_t publisher_index = stamp.publisher - share_.first;
    const uint32_t subscriber = index - share_.count;
    if (is_pairs_ && subscriber != publisher_index) return counts_.Error("a delivery to the wrong subscriber");
    uint32_t& expected = expected_[is_pairs_ ? publisher_index : static_cast<size_t>(subscriber) * share_.count + publisher_index];
    if (stamp.sequence < expected) {
      counts_.duplicates++;
      return;
    }
    counts_.lost += stamp.sequence - expected;
    expected = stamp.sequence + 1;
    counts_.deliveries++;
    counts_.bytes += payload.size();
    counts_.deliver.Record(read_at_ - std::min(read_at_, stamp.time_ns));
    // In the closed loop a late message of a batch that was given up answers nothing.
    if (options_.rate > 0 || stamp.sequence >= publishers_[publisher_index].batch_first) Answer(publisher_index);
  }

  void OnAcknowledged(uint32_t index, const Packet& packet) {
    Publisher& publisher = publishers_[index];
    if (index >= share_.count || publisher.times.empty()) return counts_.Error("an acknowledgement that nobody asked for");
    publisher.acknowledged = NextPacketId(publisher.acknowledged);
    if (packet.body.size() < 2 || ReadU16(packet.body.data()) != publisher.acknowledged) counts_.Error("an acknowledgement out of order");
    if (packet.body.size() > 2 && packet.body[2] >= 0x80) counts_.Error("an acknowledgement with reason code " + std::to_string(packet.body[2]));
    counts_.acknowledge.Record(read_at_ - std::min(read_at_, publisher.times.front()));
    counts_.acknowledged++;
    publisher.times.pop_front();
    publisher.unacknowledged--;
    Answer(index);
  }

  void Answer(uint32_t index) {
    Publisher& publisher = publishers_[index];
    if (publisher.outstanding == 0) return;
    publisher.outstanding--;
    outstanding_--;
    if (publisher.outstanding == 0 && is_sending_) Send(index, NowNs());
  }

  void OnClosed(uint32_t index, const std::string& reason) override {
    counts_.Error(reason);
    if (index < share_.count) GiveUp(publishers_[index]);
  }

  const Options& options_;
  const Share share_;
  const bool is_pairs_;
  const uint32_t subscribers_;
  const uint32_t deliveries_per_message_;
  const uint32_t answers_per_message_;
  Fleet fleet_;  // publishers first, then subscribers
  std::vector<Publisher> publishers_;
  std::vector<uint32_t> expected_;
  uint64_t outstanding_ = 0;
  uint64_t read_at_ = 0;
  uint64_t pings_ = 0;
  uint32_t next_publisher_ = 0;
  bool is_sending_ = false;
  std::string replies_;  // to the connection being read
};

}  // namespace

std::unique_ptr<Mode> MakeTraffic(const Options& options, Share share) { return std::make_unique<Traffic>(options, share); }

}  // namespace load

// A shard without JavaScript: a Reactor in a thread of its own, with a behaviour written in C++. For the native tests.
#pragma once
#include <poll.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "expect.h"
#include "reactor.h"

namespace penstock::test {

// Writes COMMAND records into the command memory.
class CommandWriter {
 public:
  explicit CommandWriter(std::span<uint8_t> memory) : memory_(memory) {}

  uint8_t* Record(uint32_t kind, uint32_t id, size_t length) {
    EXPECT(size_ + RECORD_HEADER_SIZE + AlignRecord(static_cast<uint32_t>(length)) <= memory_.size());
    uint8_t* at = memory_.data() + size_;
    Put(at, (kind << 24) | static_cast<uint32_t>(length));
    Put(at + 4, id);
    size_ += RECORD_HEADER_SIZE + AlignRecord(static_cast<uint32_t>(length));
    return at + RECORD_HEADER_SIZE;
  }
  void Empty(uint32_t kind, uint32_t id) { Record(kind, id, 0); }
  void Word(uint32_t kind, uint32_t id, uint32_t value) { Put(Record(kind, id, 4), value); }
  void Data(uint32_t id, std::span<const uint8_t> bytes) { std::memcpy(Record(COMMAND_DATA, id, bytes.size()), bytes.data(), bytes.size()); }
  void Reference(uint32_t id, uint32_t offset, uint32_t length) {
    uint8_t* at = Record(COMMAND_DATA_REF, id, 8);
    Put(at, offset);
    Put(at + 4, length);
  }
  // The two bytes at `offset` are in turn 0, 1 for the first receiver, 1, 2 for the second, and so on.
  void Patched(std::span<const uint32_t> ids, std::span<const uint8_t> bytes, uint32_t offset) {
    const size_t padded = (bytes.size() + 3) & ~size_t{3};
    uint8_t* at = Record(COMMAND_MULTICAST_PATCHED, static_cast<uint32_t>(ids.size()), 8 + padded + 8 * ids.size());
    Put(at, static_cast<uint32_t>(bytes.size()));
    Put(at + 4, offset);
    if (!bytes.empty()) std::memcpy(at + 8, bytes.data(), bytes.size());
    for (size_t i = 0; i < ids.size(); i++) {
      const Patch patch{ids[i], {static_cast<uint8_t>(i), static_cast<uint8_t>(i + 1)}, {}};
      std::memcpy(at + 8 + padded + 8 * i, &patch, sizeof patch);
    }
  }
  void Multicast(std::span<const uint32_t> ids, std::span<const uint8_t> bytes) {
    const size_t padded = (bytes.size() + 3) & ~size_t{3};
    uint8_t* at = Record(COMMAND_MULTICAST, static_cast<uint32_t>(ids.size()), 4 + padded + 4 * ids.size());
    Put(at, static_cast<uint32_t>(bytes.size()));
    std::memcpy(at + 4, bytes.data(), bytes.size());
    std::memcpy(at + 4 + padded, ids.data(), 4 * ids.size());
  }
  void Migrate(uint32_t id, uint32_t shard, std::span<const uint8_t> bytes) {
    uint8_t* at = Record(COMMAND_MIGRATE, id, 4 + bytes.size());
    Put(at, shard);
    std::memcpy(at + 4, bytes.data(), bytes.size());
  }
  [[nodiscard]] size_t room() const { return memory_.size() - size_; }
  [[nodiscard]] uint32_t Take() {
    const auto size = static_cast<uint32_t>(size_);
    size_ = 0;
    return size;
  }
  static void Put(uint8_t* at, uint32_t word) { std::memcpy(at, &word, 4); }

 private:
  std::span<uint8_t> memory_;
  size_t size_ = 0;
};

// The memory that a SharedArrayBuffer would be, and a reactor over it.
class ReactorBench : public ReactorHost {
 public:
  ReactorBench(uint32_t shard, uint32_t capacity, size_t command_size, bool is_moderated = false)
      : memory_((RING_CONTROL_SIZE + capacity + command_size) / 64 + 1), commands_({bytes() + RING_CONTROL_SIZE + capacity, command_size}), reader_(RingOf(capacity)) {
    ReactorConfig config;
    config.shard = shard;
    config.inbound = RingOf(capacity);
    config.commands = {bytes() + RING_CONTROL_SIZE + capacity, command_size};
    config.counters = counters.data();
    config.frame_size_max = Reactor::FrameSizeLimit(capacity);
    config.is_moderated = is_moderated;
    reactor_ = Reactor::Create(config, *this);
    EXPECT(reactor_ != nullptr);
  }
  ReactorBench(const ReactorBench&) = delete;
  ReactorBench& operator=(const ReactorBench&) = delete;
  virtual ~ReactorBench() = default;

  // What libuv does: one round of whatever is ready, waiting at most `timeout_ms`.
  void Turn(int timeout_ms) {
    std::array<pollfd, 2> polled{{{reactor_->control_fd(), POLLIN, 0}, {is_watched_ ? reactor_->sockets_fd() : -1, POLLIN, 0}}};
    poll(polled.data(), polled.size(), is_later_ ? 0 : timeout_ms);
    if (polled[0].revents != 0) reactor_->OnControlReady();
    if (polled[1].revents != 0) reactor_->OnSocketsReady();
    if (std::exchange(is_later_, false)) reactor_->OnLater();
  }
  Reactor& reactor() { return *reactor_; }

  bool OnBatch(uint32_t& command_size) override {
    reader_.Sync();
    Batch(reader_, commands_);
    command_size = commands_.Take();
    return true;
  }
  void WatchSockets(bool is_wanted) override { is_watched_ = is_wanted; }
  void CallLater() override { is_later_ = true; }
  void OnDrained() override { is_drained = true; }
  void OnBadCommands() override { is_bad = true; }

  std::array<double, REACTOR_COUNTER_COUNT> counters{};
  bool is_drained = false;
  bool is_bad = false;

 protected:
  virtual void Batch(RingReader& reader, CommandWriter& commands) = 0;
  uint8_t* ring_data() { return bytes() + RING_CONTROL_SIZE; }
  CommandWriter& commands() { return commands_; }

 private:
  uint8_t* bytes() { return memory_[0].data(); }
  RingMemory RingOf(uint32_t capacity) { return {reinterpret_cast<uint32_t*>(bytes()), bytes() + RING_CONTROL_SIZE, capacity}; }

  struct alignas(64) Line : std::array<uint8_t, 64> {};
  std::vector<Line> memory_;
  CommandWriter commands_;
  RingReader reader_;
  std::unique_ptr<Reactor> reactor_;
  bool is_watched_ = true;
  bool is_later_ = false;
};

}  // namespace penstock::test

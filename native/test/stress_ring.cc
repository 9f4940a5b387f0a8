// A ring between two threads, small enough that it wraps and fills all the time: every record arrives once, whole, in order, and a reader
// that sleeps is always woken.
// Usage: stress_ring [seconds]
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "expect.h"
#include "ring.h"

namespace penstock::test {
namespace {

constexpr uint32_t kCapacity = 4096;
constexpr uint32_t kLengthMax = 1500;
constexpr uint32_t kEnd = 9;

struct Memory {
  alignas(64) std::array<uint32_t, RING_CONTROL_SIZE / 4> control{};
  alignas(64) std::array<uint8_t, kCapacity> data{};
  [[nodiscard]] RingMemory ring() { return {control.data(), data.data(), kCapacity}; }
};

// What a record must hold follows from its number alone.
uint32_t LengthOf(uint32_t number) { return (number * 2654435761u >> 7) % (number % 50 == 0 ? kLengthMax : 100); }
uint8_t ByteOf(uint32_t number, uint32_t index) { return static_cast<uint8_t>(number * 31 + index); }

class Bell {
 public:
  void Ring() {
    is_rung_.store(true);
    is_rung_.notify_one();
  }
  void Wait() {
    is_rung_.wait(false);
    is_rung_.store(false);
  }

 private:
  std::atomic<bool> is_rung_ = false;
};

void Write(Memory& memory, Bell& bell, std::chrono::steady_clock::time_point end, uint32_t& written) {
  RingWriter writer(memory.ring());
  std::mt19937 random(1);
  bool is_last = false;
  for (uint32_t number = 1; !is_last; number++) {
    is_last = std::chrono::steady_clock::now() > end;
    const uint32_t length = is_last ? 0 : LengthOf(number);
    // Sometimes more is reserved than is used in the end.
    const auto reserved = static_cast<uint32_t>(std::min<size_t>(kLengthMax, length + random() % 64));
    uint8_t* room = writer.Reserve(reserved);
    while (room == nullptr) {
      if (writer.Publish()) bell.Ring();
      writer.TakeTail();
      room = writer.Reserve(reserved);
      if (room == nullptr) std::this_thread::yield();
    }
    for (uint32_t i = 0; i < length; i++) room[i] = ByteOf(number, i);
    writer.Commit(is_last ? kEnd : 1 + number % 5, number, length);
    if ((is_last || random() % 4 == 0) && writer.Publish()) bell.Ring();
    written = number;
  }
}

void Read(Memory& memory, Bell& bell, uint32_t& read) {
  RingReader reader(memory.ring());
  std::mt19937 random(2);
  for (uint32_t number = 1;;) {
    RingRecord record;
    while (reader.Next(record)) {
      EXPECT(record.id == number);
      read = number;
      if (record.kind == kEnd) return;
      EXPECT(record.kind == 1 + number % 5);
      EXPECT(record.bytes.size() == LengthOf(number));
      for (uint32_t i = 0; i < record.bytes.size(); i++) EXPECT(record.bytes[i] == ByteOf(number, i));
      number++;
      if (random() % 3 == 0) reader.Release();
    }
    reader.Release();
    if (reader.Arm()) bell.Wait();
  }
}

// One thread has both ends, as the reactor and its shard have: batches start at the data part's beginning again and again.
void Restart() {
  Memory memory;
  RingWriter writer(memory.ring());
  RingReader reader(memory.ring());
  std::mt19937 random(3);
  uint32_t number = 0;
  for (int batch = 0; batch < 200'000; batch++) {
    const uint32_t first = number;
    uint8_t* start = nullptr;
    for (auto count = random() % 8; count > 0; count--) {
      const auto length = static_cast<uint32_t>(random() % 400);
      uint8_t* room = writer.Reserve(length);
      EXPECT(room != nullptr);
      if (start == nullptr) start = room;
      std::memset(room, static_cast<int>(number & 0xff), length);
      writer.Commit(1, number++, length);
    }
    EXPECT(start == nullptr || start == memory.data.data() + RECORD_HEADER_SIZE);
    writer.Publish();
    reader.Sync();
    RingRecord record;
    uint32_t seen = first;
    while (reader.Next(record)) {
      EXPECT(record.id == seen);
      for (const uint8_t byte : record.bytes) EXPECT(byte == (seen & 0xff));
      seen++;
    }
    EXPECT(seen == number);
    reader.Release();
    writer.TakeTail();
    EXPECT(writer.IsEmpty());
    writer.Restart();
    EXPECT(writer.HasRoom(kCapacity - RECORD_HEADER_SIZE));
  }
}

void Run(std::chrono::seconds span) {
  Restart();
  Memory memory;
  Bell bell;
  uint32_t written = 0;
  uint32_t read = 0;
  // Near the place where positions wrap at 2^32.
  memory.control[RING_WORD_HEAD] = memory.control[RING_WORD_TAIL] = 0u - 64 * kCapacity;
  const auto end = std::chrono::steady_clock::now() + span;
  std::thread reader([&] { Read(memory, bell, read); });
  Write(memory, bell, end, written);
  reader.join();
  EXPECT(written == read && read > 1000);
  std::printf("%u records\n", read);
}

}  // namespace
}  // namespace penstock::test

int main(int count, char** arguments) { penstock::test::Run(std::chrono::seconds(count > 1 ? std::atoi(arguments[1]) : 5)); }

// The native ends of a ring of records (drawing and invariants: src/ring/layout.ts). Hot path.
// Thread safety: one writer, one reader, on two threads or on one; each end belongs to one thread. No locks.
// Invariants:
//   (1) HEAD - TAIL <= capacity in u32 arithmetic; both only grow and wrap at 2^32.
//   (2) Bytes in [TAIL, HEAD) are whole records and do not change until the reader passes them.
// Ownership: `control` and `data` lie in memory that the creator keeps (a SharedArrayBuffer that JavaScript owns and the addon pins).
#pragma once
#include <atomic>
#include <cstdint>
#include <span>

#include "check.h"
#include "layout.h"

namespace penstock {

inline uint32_t AlignRecord(uint32_t size) { return (size + 7u) & ~7u; }

struct RingMemory {
  uint32_t* control = nullptr;  // RING_CONTROL_SIZE bytes
  uint8_t* data = nullptr;
  uint32_t capacity = 0;        // a power of two

  [[nodiscard]] std::atomic_ref<uint32_t> Word(uint32_t index) const { return std::atomic_ref<uint32_t>(control[index]); }
  [[nodiscard]] uint32_t* RecordAt(uint32_t position) const { return reinterpret_cast<uint32_t*>(data + (position & (capacity - 1))); }
};

class RingWriter {
 public:
  // Goes on at HEAD: what a dead writer had not published never was.
  explicit RingWriter(RingMemory memory) : memory_(memory) {
    CHECK(memory.capacity >= 1024 && (memory.capacity & (memory.capacity - 1)) == 0);
    head_ = published_ = memory.Word(RING_WORD_HEAD).load(std::memory_order_relaxed);
    TakeTail();
  }

  // Room for a record of at most `length` bytes, or null when the ring is full as far as the last TakeTail() knows.
  // REQUIRES: length <= RECORD_LENGTH_MAX
  [[nodiscard]] uint8_t* Reserve(uint32_t length) {
    const uint32_t size = RECORD_HEADER_SIZE + AlignRecord(length);
    const uint32_t to_end = memory_.capacity - (head_ & (memory_.capacity - 1));
    const uint32_t filler = size > to_end ? to_end : 0;
    if (filler + size > memory_.capacity - (head_ - tail_)) return nullptr;
    if (filler > 0) {
      *memory_.RecordAt(head_) = RECORD_FILLER << 24;
      head_ += filler;
    }
    reserved_ = length;
    return reinterpret_cast<uint8_t*>(memory_.RecordAt(head_)) + RECORD_HEADER_SIZE;
  }

  // Completes the reserved record. REQUIRES: Reserve gave room for at least `length`.
  void Commit(uint32_t kind, uint32_t id, uint32_t length) {
    CHECK(length <= reserved_);
    uint32_t* record = memory_.RecordAt(head_);
    record[0] = (kind << 24) | length;
    record[1] = id;
    head_ += RECORD_HEADER_SIZE + AlignRecord(length);
    reserved_ = 0;
  }

  [[nodiscard]] bool IsDirty() const { return head_ != published_; }

  // Makes all committed records visible. True when the reader sleeps and its doorbell must be rung.
  bool Publish() {
    if (head_ == published_) return false;
    published_ = head_;
    memory_.Word(RING_WORD_HEAD).store(head_, std::memory_order_seq_cst);
    auto armed = memory_.Word(RING_WORD_ARMED);
    return armed.load(std::memory_order_seq_cst) == 1 && armed.exchange(0, std::memory_order_seq_cst) == 1;
  }

  // Learns how far the reader has come. Until this is called nothing that the reader released is overwritten.
  void TakeTail() { tail_ = memory_.Word(RING_WORD_TAIL).load(std::memory_order_acquire); }

  [[nodiscard]] bool IsEmpty() const { return head_ == tail_; }

  // True when a record of `length` bytes fits, wherever the end of the data part lies.
  [[nodiscard]] bool HasRoom(uint32_t length) const {
    return 2 * (RECORD_HEADER_SIZE + AlignRecord(length)) <= memory_.capacity - (head_ - tail_) || IsEmptyAtStart();
  }

  // Moves both ends to the data part's start, so that small batches always use the same, cache-warm memory.
  // REQUIRES: IsEmpty(), everything is published, and the reader is on this thread (it takes its position anew: RingReader.sync).
  void Restart() {
    head_ = published_ = tail_ = (head_ + memory_.capacity - 1) & ~(memory_.capacity - 1);
    memory_.Word(RING_WORD_HEAD).store(head_, std::memory_order_relaxed);
    memory_.Word(RING_WORD_TAIL).store(head_, std::memory_order_relaxed);
  }

  [[nodiscard]] const RingMemory& memory() const { return memory_; }

 private:
  [[nodiscard]] bool IsEmptyAtStart() const { return IsEmpty() && (head_ & (memory_.capacity - 1)) == 0; }

  RingMemory memory_;
  uint32_t head_ = 0;
  uint32_t published_ = 0;
  uint32_t tail_ = 0;
  uint32_t reserved_ = 0;
};

struct RingRecord {
  uint32_t kind = 0;
  uint32_t id = 0;
  std::span<const uint8_t> bytes;
};

class RingReader {
 public:
  explicit RingReader(RingMemory memory) : memory_(memory) { Sync(); }

  // Takes the position from memory again (after RingWriter::Restart).
  void Sync() { head_ = tail_ = memory_.Word(RING_WORD_TAIL).load(std::memory_order_relaxed); }

  // The next record, borrowed until Release(). False when there is none.
  [[nodiscard]] bool Next(RingRecord& record) {
    for (;;) {
      if (tail_ == head_) {
        head_ = memory_.Word(RING_WORD_HEAD).load(std::memory_order_acquire);
        if (tail_ == head_) return false;
      }
      const uint32_t* words = memory_.RecordAt(tail_);
      record.kind = words[0] >> 24;
      if (record.kind == RECORD_FILLER) {
        tail_ += memory_.capacity - (tail_ & (memory_.capacity - 1));
        continue;
      }
      const uint32_t length = words[0] & RECORD_LENGTH_MAX;
      record.id = words[1];
      record.bytes = {reinterpret_cast<const uint8_t*>(words) + RECORD_HEADER_SIZE, length};
      tail_ += RECORD_HEADER_SIZE + AlignRecord(length);
      return true;
    }
  }

  // Gives the room of everything read so far back. Borrowed bytes end here.
  void Release() { memory_.Word(RING_WORD_TAIL).store(tail_, std::memory_order_release); }

  // Says that the reader will sleep. False when records came meanwhile: it must go on instead.
  [[nodiscard]] bool Arm() {
    auto armed = memory_.Word(RING_WORD_ARMED);
    armed.store(1, std::memory_order_seq_cst);
    if (memory_.Word(RING_WORD_HEAD).load(std::memory_order_seq_cst) == tail_) return true;
    armed.store(0, std::memory_order_seq_cst);
    return false;
  }

 private:
  RingMemory memory_;
  uint32_t head_ = 0;
  uint32_t tail_ = 0;
};

}  // namespace penstock

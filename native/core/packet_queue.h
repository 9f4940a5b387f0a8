// What waits behind that which the kernel has not taken of a connection, in order and as it was given: not framed, not encrypted, none sent in
// part. So packets that may be lost can still be dropped, the oldest first.
//
//   bytes  [ piece | piece | piece | … )      contiguous, so that whole pieces go to a send as one span
//   heads  [ size, droppable | … )            one for each
//
// A piece is one packet that may be dropped, or any number of those that may not: they become one with their neighbours, so that a peer gains
// nothing by having many small ones wait (its PINGRESPs). What a DropOldest costs is a matter of the bytes that it drops and that came since
// the last.
// Thread safety: one thread at a time.
// Invariants:
//   (1) The heads' sizes sum up to the bytes, those of droppable pieces to droppable().
//   (2) Two neighbours that may not be dropped are together larger than kPieceMax.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "byte_queue.h"

namespace penstock {

class PacketQueue {
 public:
  static constexpr size_t kPieceMax = 64 * 1024;  // a single packet may be larger

  struct Dropped {
    size_t packets = 0;
    size_t bytes = 0;
  };

  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  // Bytes of packets that may be dropped.
  [[nodiscard]] size_t droppable() const { return droppable_; }

  // False, changing nothing, when there is no memory. REQUIRES: bytes is not empty
  [[nodiscard]] bool Append(std::span<const uint8_t> bytes, bool is_droppable) {
    if (!bytes_.Append(bytes)) return false;
    const auto size = static_cast<uint32_t>(bytes.size());
    if (is_droppable) {
      droppable_ += size;
    } else if (first_ < heads_.size() && Takes(heads_.back(), size)) {
      heads_.back() += size << 1;
      return true;
    }
    if (first_ >= kGapMax && first_ * 2 >= heads_.size()) {
      heads_.erase(heads_.begin(), Head(first_));
      first_ = 0;
    }
    heads_.push_back(size << 1 | (is_droppable ? 1u : 0u));
    return true;
  }

  // Drops the oldest packets that may be until `wanted` bytes are free, or none is left.
  Dropped DropOldest(size_t wanted) {
    Dropped dropped;
    if (droppable_ == 0) return dropped;
    uint8_t* const base = bytes_.mutable_bytes().data();
    size_t put = first_;  // [first_, put) stays, and lies in [0, kept)
    size_t kept = 0;
    for (; (heads_[put] & 1) == 0; put++) kept += heads_[put] >> 1;
    size_t looked = kept;
    size_t end = put;
    for (; end < heads_.size() && dropped.bytes < wanted; end++) {
      const uint32_t head = heads_[end];
      const uint32_t size = head >> 1;
      if ((head & 1) != 0) {
        dropped.packets++;
        dropped.bytes += size;
      } else {
        std::memmove(base + kept, base + looked, size);
        kept += size;
        if (put > first_ && Takes(heads_[put - 1], size)) heads_[put - 1] += head;
        else heads_[put++] = head;
      }
      looked += size;
    }
    if (put > first_ && end < heads_.size() && Takes(heads_[end], heads_[put - 1] >> 1)) heads_[end] += heads_[--put];
    std::move_backward(Head(first_), Head(put), Head(end));
    first_ = end - (put - first_);
    droppable_ -= dropped.bytes;
    CloseGap(kept, looked);
    return dropped;
  }

  // Whole pieces from the front: as many as fit into `limit` bytes, at least one. Valid until the queue changes; Consume takes them out.
  [[nodiscard]] std::span<const uint8_t> Front(size_t limit) const {
    size_t size = 0;
    for (size_t i = first_; i < heads_.size() && (size == 0 || size + (heads_[i] >> 1) <= limit); i++) size += heads_[i] >> 1;
    return bytes_.bytes().first(size);
  }

  // REQUIRES: `size` is that of a Front
  void Consume(size_t size) {
    bytes_.Consume(size);
    for (; size > 0; first_++) {
      size -= heads_[first_] >> 1;
      if ((heads_[first_] & 1) != 0) droppable_ -= heads_[first_] >> 1;
    }
  }

 private:
  static constexpr size_t kGapMax = 1024;

  // Whether what may not be dropped, of `size` bytes, becomes one with this neighbour.
  static bool Takes(uint32_t head, size_t size) { return (head & 1) == 0 && (head >> 1) + size <= kPieceMax; }
  std::vector<uint32_t>::iterator Head(size_t index) { return heads_.begin() + static_cast<std::ptrdiff_t>(index); }

  // Takes out the bytes [from, to). The shorter side moves: a lone packet at either end costs nothing.
  void CloseGap(size_t from, size_t to) {
    uint8_t* const base = bytes_.mutable_bytes().data();
    const size_t behind = bytes_.size() - to;
    if (from <= behind) {
      std::memmove(base + (to - from), base, from);
      bytes_.Consume(to - from);
    } else {
      std::memmove(base + from, base + to, behind);
      bytes_.Shrink(to - from);
    }
  }

  ByteQueue bytes_;
  std::vector<uint32_t> heads_;
  size_t first_ = 0;  // of those in use
  size_t droppable_ = 0;
};

}  // namespace penstock

// Packets that wait behind what the kernel has not taken of a connection, in order and as they were given: not framed, not encrypted, none sent in
// part. So those that may be lost can still be dropped, the oldest first.
//
//   bytes  [ packet | packet | packet | … )     contiguous, so that whole packets go to a send as one span
//   heads  [ size, droppable | … )              one for each
//
// Thread safety: one thread at a time. Invariant: the heads' sizes sum up to the bytes.
#pragma once
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "byte_queue.h"

namespace penstock {

class PacketQueue {
 public:
  struct Dropped {
    size_t packets = 0;
    size_t bytes = 0;
  };

  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

  // False, changing nothing, when there is no memory. REQUIRES: bytes is not empty
  [[nodiscard]] bool Append(std::span<const uint8_t> bytes, bool is_droppable) {
    if (!bytes_.Append(bytes)) return false;
    if (first_ >= kGapMax && first_ * 2 >= heads_.size()) {
      heads_.erase(heads_.begin(), heads_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
    heads_.push_back(static_cast<uint32_t>(bytes.size()) << 1 | (is_droppable ? 1u : 0u));
    if (is_droppable) droppable_ += bytes.size();
    return true;
  }

  // Drops the oldest droppable packets until `wanted` bytes are free, or none is left.
  Dropped DropOldest(size_t wanted) {
    Dropped dropped;
    if (droppable_ == 0) return dropped;
    size_t end = first_;
    size_t looked = 0;
    for (; end < heads_.size() && dropped.bytes < wanted; end++) {
      const uint32_t size = heads_[end] >> 1;
      looked += size;
      if ((heads_[end] & 1) == 0) continue;
      dropped.packets++;
      dropped.bytes += size;
    }
    // Those among them that stay move up to those behind, the last first.
    uint8_t* const base = bytes_.mutable_bytes().data();
    size_t from = looked;
    size_t to = looked;
    size_t head = end;
    for (size_t i = end; i-- > first_;) {
      const uint32_t size = heads_[i] >> 1;
      from -= size;
      if ((heads_[i] & 1) != 0) continue;
      to -= size;
      std::memmove(base + to, base + from, size);
      heads_[--head] = heads_[i];
    }
    first_ = head;
    droppable_ -= dropped.bytes;
    bytes_.Consume(dropped.bytes);
    return dropped;
  }

  // Whole packets from the front: as many as fit into `limit` bytes, at least one. Valid until the queue changes; Consume takes them out.
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

  ByteQueue bytes_;
  std::vector<uint32_t> heads_;
  size_t first_ = 0;
  size_t droppable_ = 0;  // bytes of packets that may be dropped
};

}  // namespace penstock

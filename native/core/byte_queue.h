// Bytes that wait: appended at the end, taken from the front, or from the end by whoever wants them no more. Holds no memory while empty, so an
// idle connection costs nothing.
// Thread safety: one thread at a time.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

namespace penstock {

class ByteQueue {
 public:
  [[nodiscard]] size_t size() const { return end_ - begin_; }
  [[nodiscard]] bool empty() const { return end_ == begin_; }
  [[nodiscard]] std::span<const uint8_t> bytes() const { return {memory_.get() + begin_, size()}; }

  [[nodiscard]] std::span<uint8_t> mutable_bytes() { return {memory_.get() + begin_, size()}; }

  // Room for `room` more bytes behind the end, or null when there is no memory. Fill some of it, then Grow().
  // Grows by doubling from what is really there, so a peer that merely announces a large frame gets no memory for it.
  [[nodiscard]] uint8_t* Extend(size_t room) {
    if (capacity_ - end_ >= room) return memory_.get() + end_;
    const size_t held = size();
    if (begin_ >= held && capacity_ >= held + room) {
      std::memmove(memory_.get(), memory_.get() + begin_, held);
    } else {
      const size_t capacity = std::max((held + room + 63) & ~size_t{63}, held * 2);
      if (capacity > UINT32_MAX) return nullptr;
      Memory memory(static_cast<uint8_t*>(std::malloc(capacity)));
      if (memory == nullptr) return nullptr;
      if (held > 0) std::memcpy(memory.get(), memory_.get() + begin_, held);
      memory_ = std::move(memory);
      capacity_ = static_cast<uint32_t>(capacity);
    }
    begin_ = 0;
    end_ = static_cast<uint32_t>(held);
    return memory_.get() + end_;
  }
  void Grow(size_t count) { end_ += static_cast<uint32_t>(count); }

  // False, changing nothing, when there is no memory.
  [[nodiscard]] bool Append(std::span<const uint8_t> more) {
    if (more.empty()) return true;
    uint8_t* room = Extend(more.size());
    if (room == nullptr) return false;
    std::memcpy(room, more.data(), more.size());
    Grow(more.size());
    return true;
  }

  void Consume(size_t count) {
    begin_ += static_cast<uint32_t>(count);
    if (begin_ == end_) Clear();
  }

  // Takes from the end.
  void Shrink(size_t count) {
    end_ -= static_cast<uint32_t>(count);
    if (begin_ == end_) Clear();
  }

  void Clear() {
    memory_.reset();
    begin_ = end_ = capacity_ = 0;
  }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  using Memory = std::unique_ptr<uint8_t[], Free>;

  Memory memory_;
  uint32_t begin_ = 0;
  uint32_t end_ = 0;
  uint32_t capacity_ = 0;
};

}  // namespace penstock

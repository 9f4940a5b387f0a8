// WebSocket as the generator speaks it (RFC 6455): masked binary frames out, unmasked ones in, no extensions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace load {

std::string EncodeUpgrade(std::string_view host, uint16_t port);

// One masked binary frame around `packets`.
void AppendFrame(std::string& to, std::string_view packets);

// Takes the frames off what a connection receives.
class FrameReader {
 public:
  // Moves the payload of data frames to the start of `bytes` and says how long it is; -1 when the peer closed or does not speak WebSocket.
  [[nodiscard]] ptrdiff_t Take(uint8_t* bytes, size_t size);

 private:
  std::array<uint8_t, 10> header_{};
  size_t header_size_ = 0;
  uint64_t remaining_ = 0;
  bool is_data_ = false;
};

}  // namespace load

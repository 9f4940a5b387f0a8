// CONNECT frames for tests and fuzzer seeds.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::test {

inline void AppendText(std::vector<uint8_t>& bytes, std::string_view text) {
  bytes.push_back(static_cast<uint8_t>(text.size() >> 8));
  bytes.push_back(static_cast<uint8_t>(text.size() & 0xff));
  bytes.insert(bytes.end(), text.begin(), text.end());
}

// `properties` goes in as it is, under protocol level 5 only (its length is put before it; below 128).
inline std::vector<uint8_t> ConnectFrame(std::string_view protocol, uint8_t level, std::string_view client_id, std::string_view properties = {}) {
  std::vector<uint8_t> body;
  AppendText(body, protocol);
  body.push_back(level);
  body.push_back(2);  // clean session
  body.push_back(0);
  body.push_back(60);
  if (level == 5) {
    body.push_back(static_cast<uint8_t>(properties.size()));
    body.insert(body.end(), properties.begin(), properties.end());
  }
  AppendText(body, client_id);
  std::vector<uint8_t> frame{0x10};
  for (size_t rest = body.size();;) {
    const auto low = static_cast<uint8_t>(rest & 0x7f);
    rest >>= 7;
    frame.push_back(rest == 0 ? low : low | 0x80);
    if (rest == 0) break;
  }
  frame.insert(frame.end(), body.begin(), body.end());
  return frame;
}

}  // namespace penstock::test

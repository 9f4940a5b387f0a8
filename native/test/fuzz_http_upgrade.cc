// Fuzzes the reader of HTTP requests that open a WebSocket: what it decides on a part of the bytes stands when more arrive, and every
// answer is whole HTTP without a byte of the request in it.
#include <algorithm>
#include <string>
#include <string_view>

#include "fuzz.h"
#include "http_upgrade.h"
#include "websocket_frames.h"

namespace {

using penstock::OriginRules;
using penstock::Upgrade;
using penstock::UpgradeState;

void AnswerIsHttp(const Upgrade& upgrade, size_t size) {
  if (upgrade.state == UpgradeState::kNeedMore) {
    FUZZ_EXPECT(upgrade.response.empty() && size < penstock::kRequestSizeMax);
    return;
  }
  const size_t end = upgrade.response.find("\r\n\r\n");
  FUZZ_EXPECT(end != std::string::npos && upgrade.response.starts_with("HTTP/1.1 "));
  if (upgrade.state == UpgradeState::kUpgraded) {
    FUZZ_EXPECT(upgrade.size > 0 && upgrade.size <= size && upgrade.size <= penstock::kRequestSizeMax);
    FUZZ_EXPECT(end + 4 == upgrade.response.size() && upgrade.response.starts_with("HTTP/1.1 101 "));
    return;
  }
  FUZZ_EXPECT(!upgrade.detail.empty() && upgrade.response.substr(end + 4) == upgrade.detail + "\n");
}

void Run(std::span<const uint8_t> input, const OriginRules& origins) {
  const Upgrade whole = penstock::ReadUpgrade(input, 0, origins);
  AnswerIsHttp(whole, input.size());
  size_t searched = 0;
  for (size_t size = 0; size <= input.size(); size += 1 + size / 16) {
    const Upgrade part = penstock::ReadUpgrade(input.first(size), searched, origins);
    searched = size;
    if (part.state == UpgradeState::kNeedMore) continue;
    FUZZ_EXPECT(part.state == whole.state && part.response == whole.response && part.size == whole.size && part.is_direct == whole.is_direct);
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::span<const uint8_t> input(bytes, size);
  Run(input, {OriginRules::Kind::kSame, {}});
  Run(input, {OriginRules::Kind::kListed, {"https://dashboard.example"}});
  (void)penstock::AcceptKey({reinterpret_cast<const char*>(bytes), std::min<size_t>(size, 64)});
  return 0;
}

std::vector<std::vector<uint8_t>> Seeds() {
  using penstock::test::RequestParts;
  using penstock::test::UpgradeRequest;
  RequestParts browser;
  browser.more = "Origin: https://gateway.example:8443\r\nX-Forwarded-For: 192.0.2.1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
  RequestParts local;
  local.host = "Host: [::1]:8443\r\n";
  RequestParts other;
  other.line = "POST /api HTTP/1.1";
  other.more = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
  std::vector<std::vector<uint8_t>> seeds;
  for (const RequestParts& parts : {RequestParts(), browser, local, other}) {
    const std::string request = UpgradeRequest(parts) + "frames";
    seeds.emplace_back(request.begin(), request.end());
  }
  return seeds;
}

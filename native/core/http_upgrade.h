// The HTTP/1.1 request that opens a WebSocket (RFC 6455 §4.2, RFC 9112): is it one for MQTT, and what is the answer? Knows just enough
// of HTTP for that; a request that asks for something else is answered here with 404, and this is where another server would take it.
// Thread safety: pure functions.
// Every byte comes from a peer that nobody knows yet (fuzz_http_upgrade).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

// Which web pages may open a connection. Browsers say the page's origin and let any page try; what is no browser says none, and is let
// through. It matters where a browser brings credentials by itself: client certificates, or being on this machine.
struct OriginRules {
  enum class Kind : uint8_t { kAny, kSame, kListed };
  Kind kind = Kind::kSame;           // kSame: pages of the host and port that the request is for
  std::vector<std::string> allowed;  // kListed: "https://dashboard.example.org"
};

enum class UpgradeState : uint8_t {
  kNeedMore,
  kUpgraded,      // send `response`, then the peer's frames follow
  kNotFound,      // a request for something else; send `response`, then close
  kWrongOrigin,   // a page that may not; likewise
  kRefused,       // no proper request, or no proper upgrade; likewise
};

struct Upgrade {
  UpgradeState state = UpgradeState::kNeedMore;
  size_t size = 0;         // kUpgraded: bytes of the request; what follows are frames
  // kUpgraded: nothing says that the request came through a proxy or by another name than this machine's own. Only then does a
  // loopback address speak for the client.
  bool is_direct = false;
  std::string response;
  std::string detail;      // why not, in plain words, for the log
};

inline constexpr size_t kRequestSizeMax = 8192;

// Looks at what has been received so far. `searched`: so many bytes from the start were looked at by an earlier call.
[[nodiscard]] Upgrade ReadUpgrade(std::span<const uint8_t> bytes, size_t searched, const OriginRules& origins);

// Sec-WebSocket-Accept of a key (RFC 6455 §4.2.2).
[[nodiscard]] std::string AcceptKey(std::string_view key);

}  // namespace penstock

// What a shard is told about a connection that it adopts: the JSON of `ConnectionOpened` in src/reactor/reactor.ts.
// Thread safety: pure functions; the SSL is used as its thread uses it.
#pragma once
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace penstock {

struct PeerAddress {
  std::string text;  // "192.0.2.1", "2001:db8::1", "unix:pid=1,uid=0"; an IPv4 address mapped into IPv6 is written as IPv4
  uint16_t port = 0;
  bool is_loopback = false;
};

[[nodiscard]] PeerAddress ReadAddress(const sockaddr_storage& address);

struct Opened {
  uint32_t listener = 0;
  PeerAddress peer;
  bool is_loopback = false;  // peer and local address
  SSL* ssl = nullptr;        // null for plain TCP; its handshake is complete
};

[[nodiscard]] std::string OpenedJson(const Opened& opened);

// Appends `text` as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD: certificates may hold anything.
void AppendJsonString(std::string& json, std::string_view text);

}  // namespace penstock

// Who is connected: the number of live connections of the process and of each address, for the front's limits.
// The front takes a CensusTicket for every accepted connection; the ticket travels in the Handoff and is then owned by the
// connection of the reactor that adopted it (and moves on with it to another shard). Its destructor gives the place back: a reactor
// keeps the ticket as a member of its connection and has nothing else to do.
// Thread safety: all functions may be called from any thread.
// Invariants: the sum of all addresses' counts == ConnectionCount() (under the lock); an address without connections has no entry.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "unix_socket.h"

namespace penstock {

enum class CensusRefusal : uint8_t { kNone, kConnectionLimit, kAddressLimit };

// One number for all addresses of one peer: an IPv4 address, the /64 of an IPv6 address (a host owns its whole /64), or all Unix sockets
// of one user. Never 0.
[[nodiscard]] inline uint64_t AddressKey(const sockaddr_storage& address) {
  const auto ipv4_key = [](const void* bytes) {
    uint32_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    return (uint64_t{0x0000ffff} << 32) | word;
  };
  if (address.ss_family == AF_INET) {
    sockaddr_in ipv4{};
    std::memcpy(&ipv4, &address, sizeof ipv4);
    return ipv4_key(&ipv4.sin_addr);
  }
  if (address.ss_family == AF_UNIX) return (uint64_t{0x0001fffe} << 32) | UnixPeerCredentials(address).uid;
  sockaddr_in6 ipv6{};
  std::memcpy(&ipv6, &address, sizeof ipv6);
  if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) return ipv4_key(&ipv6.sin6_addr.s6_addr[12]);
  uint64_t key = 0;
  std::memcpy(&key, &ipv6.sin6_addr, sizeof key);
  return key == 0 ? 1 : key;  // ::1 and its /64
}

class Census {
 public:
  static Census& Instance() {
    static Census census;
    return census;
  }

  // Takes a place for `key`, or says which limit forbids it.
  [[nodiscard]] CensusRefusal Enter(uint64_t key, size_t connections_max, size_t per_address_max) {
    const std::lock_guard lock(mutex_);
    if (connection_count_ >= connections_max) return CensusRefusal::kConnectionLimit;
    const auto entry = counts_.find(key);
    if (entry != counts_.end() && entry->second >= per_address_max) return CensusRefusal::kAddressLimit;
    if (per_address_max == 0) return CensusRefusal::kAddressLimit;
    counts_[key]++;
    connection_count_++;
    return CensusRefusal::kNone;
  }

  void Leave(uint64_t key) {
    const std::lock_guard lock(mutex_);
    const auto entry = counts_.find(key);
    if (entry == counts_.end()) return;
    connection_count_--;
    if (--entry->second == 0) counts_.erase(entry);
  }

  [[nodiscard]] size_t ConnectionCount() {
    const std::lock_guard lock(mutex_);
    return connection_count_;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<uint64_t, uint32_t> counts_;
  size_t connection_count_ = 0;
};

// A place in the census; 8 bytes. Empty when default-constructed or moved from.
class CensusTicket {
 public:
  CensusTicket() = default;
  // REQUIRES: Census::Enter(key) has returned kNone.
  explicit CensusTicket(uint64_t key) : key_(key) {}
  CensusTicket(CensusTicket&& other) noexcept : key_(std::exchange(other.key_, 0)) {}
  CensusTicket& operator=(CensusTicket&& other) noexcept {
    if (this != &other) {
      Release();
      key_ = std::exchange(other.key_, 0);
    }
    return *this;
  }
  CensusTicket(const CensusTicket&) = delete;
  CensusTicket& operator=(const CensusTicket&) = delete;
  ~CensusTicket() { Release(); }

  void Release() noexcept {
    if (key_ != 0) Census::Instance().Leave(std::exchange(key_, 0));
  }

 private:
  uint64_t key_ = 0;
};

}  // namespace penstock

#include "listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>

#include "error_name.h"
#include "opened.h"

namespace penstock {
namespace {

constexpr int kBacklog = 16384;        // the kernel cuts it to net.core.somaxconn; a storm waits there, not in our memory
constexpr int kKeepAliveIdleSeconds = 300;

struct FreeAddress {
  void operator()(addrinfo* value) const { freeaddrinfo(value); }
};

bool SetOption(int fd, int level, int option, int value) { return setsockopt(fd, level, option, &value, sizeof value) == 0; }

uint16_t PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ReadAddress(address).port;
}

}  // namespace

BoundSocket BindAndListen(const std::string& host, uint16_t port) {
  BoundSocket result;
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    result.error = "EINVAL";  // no numeric address
    return result;
  }
  const std::unique_ptr<addrinfo, FreeAddress> address(found);
  UniqueFd fd(socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // Keep-alive probes find peers that vanished although they asked for no MQTT keep-alive.
  const bool is_listening = fd.is_open() && SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1) &&
                            (address->ai_family != AF_INET6 || SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0)) &&
                            SetOption(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1) && SetOption(fd.get(), SOL_SOCKET, SO_KEEPALIVE, 1) &&
                            SetOption(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveIdleSeconds) &&
                            bind(fd.get(), address->ai_addr, address->ai_addrlen) == 0 && listen(fd.get(), kBacklog) == 0;
  if (!is_listening) {
    result.error = ErrorName(errno);
    return result;
  }
  result.port = PortOf(fd.get());
  result.fd = std::move(fd);
  return result;
}

}  // namespace penstock

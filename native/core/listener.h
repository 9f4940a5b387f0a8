// A listening socket of the front: numeric address, TCP_NODELAY and keep-alive inherited by what it accepts.
// Thread safety: made on main's thread, then used by the front's thread alone.
#pragma once
#include <cstdint>
#include <string>

#include "fd.h"

namespace penstock {

struct BoundSocket {
  UniqueFd fd;
  uint16_t port = 0;
  std::string error;  // "EADDRINUSE", …; empty when the socket listens
};

// Binds and listens ("::" is dual-stack; port 0 = any free one). Clients may connect from now on; they wait in the kernel's queue until
// the front accepts. Only a socket that listens has surely got its port: two that are merely bound with SO_REUSEADDR may share one.
[[nodiscard]] BoundSocket BindAndListen(const std::string& host, uint16_t port);

}  // namespace penstock

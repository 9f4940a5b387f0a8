// Listening on a path, for services on this machine.
// Thread safety: made and removed on main's thread; the peers' addresses are read on the front's.
#pragma once
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>

#include "listener.h"

namespace penstock {

// A socket's place in the file system. Removes it with the object that owns it, unless something else is there by then.
class SocketPath {
 public:
  SocketPath() = default;
  SocketPath(SocketPath&& other) noexcept;
  SocketPath& operator=(SocketPath&& other) noexcept;
  SocketPath(const SocketPath&) = delete;
  SocketPath& operator=(const SocketPath&) = delete;
  ~SocketPath() { Remove(); }
  // REQUIRES: a socket was just bound to `path`.
  explicit SocketPath(std::string path);
  void Remove() noexcept;

 private:
  std::string path_;  // empty: nothing to remove
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Binds and listens. A socket that nobody listens on (its owner died) is replaced; one that somebody does is EADDRINUSE, and a file of
// another kind EEXIST. `mode` decides who may connect, from the first connection on.
[[nodiscard]] BoundSocket BindUnix(const std::string& path, mode_t mode, SocketPath& place);

// Who is at the other end, in the form of an address: the kernel names a peer's process and user in place of a path.
[[nodiscard]] sockaddr_storage UnixPeerAddress(int fd);
// REQUIRES: `address` is of UnixPeerAddress.
[[nodiscard]] ucred UnixPeerCredentials(const sockaddr_storage& address);

}  // namespace penstock

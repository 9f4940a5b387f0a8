#include "unix_socket.h"

#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "error_name.h"

namespace penstock {
namespace {

constexpr int kBacklog = 1024;

UniqueFd OpenSocket() { return UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

// 0 when `path` is free, perhaps only now; else the error.
int ClearPath(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) return errno == ENOENT ? 0 : errno;
  if (!S_ISSOCK(found.st_mode)) return EEXIST;
  const UniqueFd probe = OpenSocket();
  if (!probe.is_open()) return errno;
  // EAGAIN: somebody listens, and is busy.
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN) return EADDRINUSE;
  if (errno != ECONNREFUSED) return errno == ENOENT ? 0 : errno;
  return unlink(path.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

}  // namespace

SocketPath::SocketPath(std::string path) {
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) return;
  path_ = std::move(path);
  device_ = found.st_dev;
  inode_ = found.st_ino;
}

SocketPath::SocketPath(SocketPath&& other) noexcept
    : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}

SocketPath& SocketPath::operator=(SocketPath&& other) noexcept {
  if (this == &other) return *this;
  Remove();
  path_ = std::exchange(other.path_, {});
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

void SocketPath::Remove() noexcept {
  if (path_.empty()) return;
  struct stat found {};
  if (lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) (void)!unlink(path_.c_str());
  path_.clear();
}

BoundSocket BindUnix(const std::string& path, mode_t mode, SocketPath& place) {
  BoundSocket result;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    result.error = ErrorName(ENAMETOOLONG);
    return result;
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  const int occupied = ClearPath(path, address);
  if (occupied != 0) {
    result.error = ErrorName(occupied);
    return result;
  }
  UniqueFd fd = OpenSocket();
  if (!fd.is_open() || bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    result.error = ErrorName(errno);
    return result;
  }
  place = SocketPath(path);
  // Until it listens nobody can connect, so nobody gets in before the mode is right.
  if (chmod(path.c_str(), mode) != 0 || listen(fd.get(), kBacklog) != 0) {
    result.error = ErrorName(errno);
    place.Remove();
    return result;
  }
  result.fd = std::move(fd);
  return result;
}

sockaddr_storage UnixPeerAddress(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) credentials = {0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
  sockaddr_storage address{};
  address.ss_family = AF_UNIX;
  static_assert(sizeof(sockaddr_un) >= offsetof(sockaddr_un, sun_path) + sizeof credentials);
  std::memcpy(reinterpret_cast<char*>(&address) + offsetof(sockaddr_un, sun_path), &credentials, sizeof credentials);
  return address;
}

ucred UnixPeerCredentials(const sockaddr_storage& address) {
  ucred credentials{};
  std::memcpy(&credentials, reinterpret_cast<const char*>(&address) + offsetof(sockaddr_un, sun_path), sizeof credentials);
  return credentials;
}

}  // namespace penstock

#include "lock.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "error_name.h"

namespace penstock {
namespace {

std::string SystemError() {
  const int code = errno;
  return std::string(ErrorName(code)) + ": " + std::strerror(code);
}

}  // namespace

DirectoryLock::Result DirectoryLock::Take(const std::string& path, std::string& error) {
  if (fd_.is_open()) return Result::kHeldElsewhere;
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.is_open()) {
    error = SystemError();
    return Result::kFailed;
  }
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;  // from 0, length 0: the whole file
  if (fcntl(fd.get(), F_OFD_SETLK, &range) == 0) {
    fd_ = std::move(fd);
    return Result::kTaken;
  }
  const bool is_held = errno == EAGAIN || errno == EACCES;
  if (!is_held) error = SystemError();
  return is_held ? Result::kHeldElsewhere : Result::kFailed;
}

}  // namespace penstock

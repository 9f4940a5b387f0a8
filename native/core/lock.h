// The data directory's lock: an open-file-description lock, so that it ends with the process however that ends (no stale pid file), and
// is not lost when some other part of the process opens and closes the same file (as a POSIX lock would be).
// Thread safety: one thread (main).
#pragma once
#include <string>

#include "fd.h"

namespace penstock {

class DirectoryLock {
 public:
  enum class Result { kTaken, kHeldElsewhere, kFailed };

  DirectoryLock() = default;
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  // Creates `path` (mode 600) when missing and locks it. kFailed: `error` names the system's error ("EACCES: Permission denied").
  // kHeldElsewhere also when this object already holds a lock: two gateways in one process are two gateways.
  [[nodiscard]] Result Take(const std::string& path, std::string& error);
  void Release() { fd_.Reset(); }

 private:
  UniqueFd fd_;
};

}  // namespace penstock

#include "handoff.h"

#include <unistd.h>

#include <array>

#include "check.h"
#include "layout.h"

namespace penstock {

Handoff::Handoff(Handoff&& other) noexcept { *this = std::move(other); }

Handoff& Handoff::operator=(Handoff&& other) noexcept {
  if (this == &other) return *this;
  if (fd >= 0) close(fd);
  fd = other.fd;
  other.fd = -1;
  tls = std::move(other.tls);
  listener = other.listener;
  framing = other.framing;
  opened_json = std::move(other.opened_json);
  websocket = std::move(other.websocket);
  bytes = std::move(other.bytes);
  unsent = std::move(other.unsent);
  ticket = std::move(other.ticket);
  return *this;
}

Handoff::~Handoff() {
  if (fd >= 0) close(fd);
}

namespace {

struct Inbox {
  std::mutex lock;
  bool is_open = false;
  std::function<void()> wake;
  std::vector<Handoff> waiting;
};

// Never destroyed: the front's thread may still push while the process exits.
std::array<Inbox, SHARD_COUNT_MAX>& Inboxes() {
  static auto& inboxes = *new std::array<Inbox, SHARD_COUNT_MAX>();
  return inboxes;
}

}  // namespace

InboxTable& InboxTable::Instance() {
  static auto& table = *new InboxTable();
  return table;
}

void InboxTable::Open(uint32_t shard, std::function<void()> wake) {
  CHECK(shard < SHARD_COUNT_MAX);
  Inbox& inbox = Inboxes()[shard];
  const std::lock_guard guard(inbox.lock);
  inbox.is_open = true;
  inbox.wake = std::move(wake);
}

void InboxTable::Close(uint32_t shard) {
  CHECK(shard < SHARD_COUNT_MAX);
  Inbox& inbox = Inboxes()[shard];
  std::vector<Handoff> dropped;  // closed after the lock is free
  const std::lock_guard guard(inbox.lock);
  inbox.is_open = false;
  inbox.wake = nullptr;
  dropped.swap(inbox.waiting);
}

bool InboxTable::Push(uint32_t shard, Handoff& handoff) {
  if (shard >= SHARD_COUNT_MAX) return false;
  Inbox& inbox = Inboxes()[shard];
  const std::lock_guard guard(inbox.lock);
  if (!inbox.is_open || inbox.waiting.size() >= kInboxCountMax) return false;
  inbox.waiting.push_back(std::move(handoff));
  // Under the lock: a reactor that closes its inbox can be sure that nobody wakes it afterwards.
  if (inbox.waiting.size() == 1) inbox.wake();
  return true;
}

std::vector<Handoff> InboxTable::Drain(uint32_t shard) {
  CHECK(shard < SHARD_COUNT_MAX);
  Inbox& inbox = Inboxes()[shard];
  std::vector<Handoff> drained;
  const std::lock_guard guard(inbox.lock);
  drained.swap(inbox.waiting);
  return drained;
}

}  // namespace penstock

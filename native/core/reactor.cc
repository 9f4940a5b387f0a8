// Turns and batches of the reactor; see reactor.h. Hot path.
#include "reactor.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>
#include <ctime>

#include "doorbell.h"

namespace penstock {

namespace {

constexpr int kEventsMax = 256;
// A flood must not keep the worker from its other work.
constexpr uint32_t kRoundsMax = 4;
constexpr uint32_t kPassesMax = 8;
// Room that any one read of the common path may need.
constexpr uint32_t kReadRoom = 2 * READ_BUDGET + static_cast<uint32_t>(kTlsRecordMax);
// Marks of the descriptors in control_ that are no connections (whose data is their id, 32 bits).
constexpr uint64_t kWakeMark = uint64_t{1} << 32;
constexpr uint64_t kTimerMark = uint64_t{2} << 32;

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

uint64_t ThreadTimeNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

bool Watch(int epoll, int fd, uint32_t events, uint64_t mark) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = mark;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

uint64_t MonotonicMs() { return MonotonicNs() / 1'000'000u; }

std::unique_ptr<Reactor> Reactor::Create(const ReactorConfig& config, ReactorHost& host) {
  std::unique_ptr<Reactor> reactor(new Reactor(config, host));
  if (!reactor->Open()) reactor.reset();
  return reactor;
}

Reactor::Reactor(const ReactorConfig& config, ReactorHost& host)
    : host_(host),
      shard_(config.shard),
      inbound_(config.inbound),
      commands_(config.commands),
      counters_(config.counters),
      frame_size_max_(config.frame_size_max),
      is_moderated_(config.is_moderated),
      wheel_(MonotonicMs()),
      now_(MonotonicMs()),
      scratch_(kLargeReadSize) {
  CHECK(config.inbound.capacity > 2 * kReadRoom);
  CHECK(config.frame_size_max <= FrameSizeLimit(config.inbound.capacity));
}

bool Reactor::Open() {
  sockets_.Reset(epoll_create1(EPOLL_CLOEXEC));
  control_.Reset(epoll_create1(EPOLL_CLOEXEC));
  wake_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  timer_.Reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!sockets_.is_open() || !control_.is_open() || !wake_.is_open() || !timer_.is_open()) return false;
  // Edge-triggered: each write to the eventfd is one event, and it never has to be read.
  if (!Watch(control_.get(), wake_.get(), EPOLLIN | EPOLLET, kWakeMark) || !Watch(control_.get(), timer_.get(), EPOLLIN, kTimerMark)) return false;
  // The bounded waits are shorter than the default slack of 50 us would let them be.
  if (is_moderated_) prctl(PR_SET_TIMERSLACK, 1000);
  // A ring that a dead worker left half read starts empty: its connections are gone.
  inbound_.memory().Word(RING_WORD_TAIL).store(inbound_.memory().Word(RING_WORD_HEAD).load());
  inbound_.TakeTail();
  inbound_.Restart();
  const auto wake = [fd = wake_.get()] {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof one);
  };
  doorbell_ticket_ = DoorbellTable::Instance().Open(DOORBELL_SHARD + shard_, [this, wake] {
    if (!is_rung_.exchange(true)) wake();
  });
  InboxTable::Instance().Open(shard_, wake);
  return true;
}

Reactor::~Reactor() { Stop(); }

void Reactor::Stop() {
  if (is_stopped_) return;
  is_stopped_ = true;
  if (doorbell_ticket_ != 0) {
    DoorbellTable::Instance().Close(DOORBELL_SHARD + shard_, doorbell_ticket_);
    if (drain_ == DrainState::kNone) InboxTable::Instance().Close(shard_);
  }
  adopting_.clear();
  connections_.ForEach([this](Connection& connection) {
    if (connection.fd.is_open()) Detach(connection);
    connection.state = ConnectionState::kClosed;
    connection.tls.reset();
    connection.websocket.reset();
    connection.fd.Reset();
    connection.ticket.Release();
    connection.overflow.Clear();
    connection.waiting.reset();
    connection.partial.Clear();
  });
  SetGauge(REACTOR_COUNTER_CONNECTIONS_OPEN, 0);
  SetGauge(REACTOR_COUNTER_OVERFLOW_BYTES, 0);
  if (is_watching_) host_.WatchSockets(false);
  is_watching_ = false;
}

void Reactor::OnSocketsReady() {
  if (!MayRead()) return;
  if (is_moderated_) ModerateWait();
  now_ = MonotonicMs();
  uint32_t batch = 0;
  if (!ReadSockets(batch)) return;
  if (is_moderated_) moderator_.TurnDone(batch);
  FinishTurn();
}

// Reads what sockets hold, a bounded number of rounds; `batch` counts those that held something. False when the reactor stopped.
bool Reactor::ReadSockets(uint32_t& batch) {
  std::array<epoll_event, kEventsMax> events;
  for (uint32_t round = 0; round < kRoundsMax && MayRead(); round++) {
    const int count = epoll_wait(sockets_.get(), events.data(), kEventsMax, 0);
    if (count <= 0) break;
    batch += static_cast<uint32_t>(count);
    for (size_t i = 0; i < static_cast<size_t>(count) && MayRead();) {
      Connection* connection = connections_.Find(events[i].data.u32);
      if (connection != nullptr && Receive(*connection, events[i].events) == Received::kRingFull) {
        // Let JavaScript take what is there, then try this socket again. If it leaves too much, reading stops; level-triggered epoll
        // brings the sockets back.
        if (!RunBatch(false)) return false;
        is_full_ = !inbound_.HasRoom(kReadRoom);
        if (is_full_) Count(REACTOR_COUNTER_INBOUND_FULL);
        continue;
      }
      i++;
    }
    if (!RunBatch(false)) return false;
    if (count < kEventsMax) break;
  }
  return true;
}

void Reactor::OnControlReady() {
  if (is_stopped_) return;
  now_ = MonotonicMs();
  std::vector<Handoff> arrived;
  std::array<epoll_event, kEventsMax> events;
  const int count = epoll_wait(control_.get(), events.data(), kEventsMax, 0);
  for (size_t i = 0; count > 0 && i < static_cast<size_t>(count); i++) {
    const uint64_t mark = events[i].data.u64;
    if (mark == kTimerMark) {
      uint64_t expirations = 0;
      [[maybe_unused]] const ssize_t size = read(timer_.get(), &expirations, sizeof expirations);
      timer_armed_at_ = 0;
      RunTimers();
    } else if (mark == kWakeMark) {
      arrived = InboxTable::Instance().Drain(shard_);
    } else if (Connection* connection = connections_.Find(static_cast<uint32_t>(mark)); connection != nullptr && connection->fd.is_open()) {
      Writable(*connection);
    }
  }
  // What a client sent before it connected anew comes first: its old connection's DISCONNECT, above all, or that one's will went out.
  uint32_t batch = 0;
  if (!arrived.empty() && !ReadSockets(batch)) return;
  for (Handoff& handoff : arrived) adopting_.push_back(std::move(handoff));
  if (RunBatch(is_rung_.exchange(false))) FinishTurn();
}

void Reactor::OnLater() {
  if (is_stopped_) return;
  now_ = MonotonicMs();
  if (!RunBatch(true)) return;
  if (drain_ == DrainState::kAsked) {
    BeginDrain();
    if (!RunBatch(false)) return;
  }
  FinishTurn();
}

// Emits what waits, calls JavaScript, runs its commands; again while that gave rise to more. False when the reactor stopped.
bool Reactor::RunBatch(bool is_forced) {
  for (uint32_t pass = 0; pass < kPassesMax; pass++) {
    // Flushing connections whose last frames are in the ring wait for JavaScript's replies to them.
    if (!inbound_.IsDirty() && !is_forced) SettleFlushing();
    Emit();
    if (!inbound_.IsDirty() && !is_forced) {
      if (settling_.empty()) return true;
      continue;
    }
    is_forced = false;
    if (!CallHost()) return false;
    SettleFlushing();
  }
  host_.CallLater();
  return true;
}

bool Reactor::CallHost() {
  inbound_.Publish();
  Count(REACTOR_COUNTER_BATCHES);
  uint32_t size = 0;
  is_in_batch_ = true;
  const bool is_ok = host_.OnBatch(size);
  is_in_batch_ = false;
  if (is_stopped_) return false;
  if (!is_ok) {
    // Its connections cannot be served any more; clients come back to the restarted worker.
    Stop();
    return false;
  }
  if (!RunCommands(size)) {
    Stop();
    host_.OnBadCommands();
    return false;
  }
  // Only now may what JavaScript released be overwritten: the commands pointed into it.
  inbound_.TakeTail();
  if (inbound_.IsEmpty()) inbound_.Restart();
  return true;
}

// Writes into the ring what could not be written while commands ran. What does not fit waits for JavaScript to make room.
void Reactor::Emit() {
  AdoptWaiting();
  if (!backlog_.empty() && !is_paused_) {
    bool is_full = false;
    size_t kept = 0;
    for (Connection* connection : backlog_) {
      if (!connection->Has(flag::kBacklogged)) continue;  // closed meanwhile
      is_full = is_full || !DeliverBacklog(*connection);
      if (is_full) backlog_[kept++] = connection;
    }
    backlog_.resize(kept);
  }
  while (!notices_.empty()) {
    const Notice& notice = notices_.front();
    uint8_t* room = inbound_.Reserve(4);
    if (room == nullptr) return;
    std::memcpy(room, &notice.reason, 4);
    inbound_.Commit(notice.kind, notice.id, notice.kind == INBOUND_CLOSED || notice.kind == INBOUND_FAULT ? 4 : 0);
    notices_.pop_front();
  }
}

void Reactor::FinishTurn() {
  if (is_full_) is_full_ = !inbound_.HasRoom(kReadRoom);
  SetGauge(REACTOR_COUNTER_OVERFLOW_BYTES, static_cast<double>(overflow_total_));
  SetGauge(REACTOR_COUNTER_CONNECTIONS_OPEN, open_count_);
  UpdateWatch();
  ArmTimer();
  if (drain_ == DrainState::kClosing && open_count_ == 0 && notices_.empty()) {
    drain_ = DrainState::kDone;
    host_.OnDrained();
  }
}

void Reactor::UpdateWatch() {
  const bool is_wanted = MayRead();
  if (is_wanted == is_watching_) return;
  is_watching_ = is_wanted;
  if (is_wanted) resumed_at_ = now_;
  host_.WatchSockets(is_wanted);
}

void Reactor::PauseAll() {
  is_paused_ = true;
  UpdateWatch();
}

void Reactor::ResumeAll() {
  if (!is_paused_ || is_stopped_) return;
  is_paused_ = false;
  now_ = MonotonicMs();
  UpdateWatch();
  if (!backlog_.empty()) host_.CallLater();
}

void Reactor::ModerateWait() {
  const uint64_t wait = moderator_.WaitBefore(MonotonicNs(), ThreadTimeNs);
  if (wait == 0) return;
  // A doorbell, a new connection or a writable socket ends the wait.
  pollfd control{control_.get(), POLLIN, 0};
  timespec timeout{0, static_cast<long>(wait)};
  ppoll(&control, 1, &timeout, nullptr);
  Count(REACTOR_COUNTER_MODERATED_WAITS);
}

void Reactor::ArmTimer() {
  const int64_t wait = wheel_.UntilNext(now_);
  if (wait < 0) return;
  const uint64_t at = now_ + static_cast<uint64_t>(wait);
  if (timer_armed_at_ != 0 && timer_armed_at_ <= at) return;
  timer_armed_at_ = at;
  itimerspec spec{};
  spec.it_value.tv_sec = wait / 1000;
  spec.it_value.tv_nsec = (wait % 1000) * 1'000'000 + 1;  // never 0, which would disarm
  timerfd_settime(timer_.get(), 0, &spec, nullptr);
}

void Reactor::RunTimers() {
  wheel_.Expire(now_, [this](TimerNode& node) { OnDue(static_cast<Connection&>(node)); });
}

}  // namespace penstock

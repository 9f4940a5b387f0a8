// Birth, deadlines and death of a reactor's connections (states: connection.h).
#include <sys/epoll.h>
#include <sys/socket.h>

#include "reactor.h"
#include "tls_context.h"

namespace penstock {

void Reactor::AdoptWaiting() {
  while (!adopting_.empty()) {
    if (!Adopt(adopting_.front())) return;
    adopting_.pop_front();
  }
}

// Tells JavaScript of a connection and gives it the first frame. False, doing nothing, when the ring has no room for both.
bool Reactor::Adopt(Handoff& handoff) {
  const FrameScan first = ScanFrames({handoff.framing, frame_size_max_, 1}, handoff.bytes);
  const auto json_size = static_cast<uint32_t>(handoff.opened_json.size());
  if (!inbound_.HasRoom(json_size + static_cast<uint32_t>(first.whole) + 2 * RECORD_HEADER_SIZE)) return false;
  Connection* allocated = connections_.Allocate();
  if (allocated == nullptr) {
    Count(REACTOR_COUNTER_CLOSED + CLOSE_REASON_LIMIT);
    return true;
  }
  Connection& connection = *allocated;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = connection.id;
  if (epoll_ctl(sockets_.get(), EPOLL_CTL_ADD, handoff.fd, &event) != 0) {
    Count(REACTOR_COUNTER_CLOSED + CLOSE_REASON_OUT_OF_MEMORY);
    connections_.Free(connection);
    return true;
  }
  connection.state = ConnectionState::kOpen;
  connection.framing = handoff.framing;
  connection.flags = flag::kPollsIn | flag::kHoldAfterFirst;
  connection.first_segment = kNoSegment;
  connection.queued = 0;
  connection.fd.Reset(std::exchange(handoff.fd, -1));
  connection.tls = std::move(handoff.tls);
  connection.websocket = std::move(handoff.websocket);
  connection.need = 0;
  connection.frame_size_max = frame_size_max_;
  connection.keep_alive_ms = 0;
  connection.active_at = now_;
  connection.listener = handoff.listener;
  connection.opened_json = std::move(handoff.opened_json);
  connection.ticket = std::move(handoff.ticket);
  open_count_++;
  Count(REACTOR_COUNTER_CONNECTIONS_OPENED);
  Count(REACTOR_COUNTER_BYTES_IN, static_cast<double>(handoff.bytes.size()));

  uint8_t* room = inbound_.Reserve(json_size);
  std::memcpy(room, connection.opened_json.data(), json_size);
  inbound_.Commit(INBOUND_OPENED, connection.id, json_size);
  AppendOverflow(connection, handoff.unsent);
  if (!connection.partial.Append(handoff.bytes)) {
    Close(connection, CLOSE_REASON_OUT_OF_MEMORY);
    return true;
  }
  // The room for the first frame was looked at above.
  CHECK(DeliverPartial(connection));
  return true;
}

// The hold after the first frame ends: what came behind it follows.
void Reactor::Accept(Connection& connection) {
  if (!connection.Has(flag::kHeld)) return;
  connection.Clear(flag::kHeld);
  connection.active_at = now_;
  ArmDeadline(connection);
  const bool is_ended = connection.websocket && connection.websocket->is_ended;
  if (!connection.partial.empty() || is_ended || (connection.tls && connection.tls->HasPending())) {
    AddToBacklog(connection);
  } else {
    ResumeReading(connection);
  }
}

void Reactor::BeginClose(Connection& connection, uint32_t reason, uint64_t linger_until) {
  connection.state = ConnectionState::kFlushing;
  connection.close_reason = reason;
  connection.linger_until = linger_until;
  connection.Clear(flag::kHeld | flag::kHoldAfterFirst | flag::kPaused | flag::kReadStopped | flag::kBacklogged);
  connection.partial.Clear();
  connection.need = 0;
  ArmDeadline(connection);
  connection.Set(flag::kSettling);
  settling_.push_back(&connection);
}

// Flushing connections whose replies have been sent go on to their end; the others wait for EPOLLOUT.
void Reactor::SettleFlushing() {
  // FinishFlush may add to the list: by index.
  for (size_t i = 0; i < settling_.size(); i++) {
    Connection& connection = *settling_[i];
    if (!connection.Has(flag::kSettling)) continue;
    connection.Clear(flag::kSettling);
    if (connection.state == ConnectionState::kFlushing && connection.overflow.empty()) FinishFlush(connection);
  }
  settling_.clear();
}

void Reactor::FinishFlush(Connection& connection) {
  if ((connection.tls || connection.websocket) && !connection.Has(flag::kNotified)) {
    connection.Set(flag::kNotified);
    SayGoodbye(connection);
    if (!connection.fd.is_open() || !connection.overflow.empty()) return;
  }
  if (connection.Has(flag::kPeerFinished)) {
    Close(connection, connection.close_reason);
    return;
  }
  shutdown(connection.fd.get(), SHUT_WR);
  connection.state = ConnectionState::kLingering;
  SetPolling(connection, true);
}

// Closes the descriptor now; what was queued is lost. CLOSED is told at the next emission.
void Reactor::Close(Connection& connection, uint32_t reason) {
  if (!connection.fd.is_open()) return;
  if (reason == CLOSE_REASON_STALLED) {
    // A peer that does not read would keep the kernel's buffers for minutes: reset it.
    const linger reset{1, 0};
    setsockopt(connection.fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  Detach(connection);
  connection.fd.Reset();
  connection.tls.reset();
  connection.websocket.reset();
  overflow_total_ -= connection.Unsent();
  connection.overflow.Clear();
  connection.waiting.reset();
  connection.partial.Clear();
  connection.opened_json = std::string();
  connection.ticket.Release();
  connection.state = ConnectionState::kClosed;
  // In the list of dirty ones it stays, so that it is not entered twice.
  connection.flags &= flag::kDirty;
  connection.first_segment = kNoSegment;
  connection.queued = 0;
  open_count_--;
  Count(REACTOR_COUNTER_CLOSED + reason);
  notices_.push_back({INBOUND_CLOSED, connection.id, reason});
}

// Takes the connection out of everything that the kernel or the clock could wake. Explicitly, and not by closing the descriptor: a
// duplicate of it elsewhere would keep it in the epoll sets.
void Reactor::Detach(Connection& connection) {
  wheel_.Cancel(connection);
  epoll_ctl(sockets_.get(), EPOLL_CTL_DEL, connection.fd.get(), nullptr);
  if (connection.Has(flag::kPollsOut)) epoll_ctl(control_.get(), EPOLL_CTL_DEL, connection.fd.get(), nullptr);
}

void Reactor::Free(Connection& connection) {
  if (connection.state == ConnectionState::kClosed) connections_.Free(connection);
}

void Reactor::Migrate(Connection& connection, const Command& command) {
  SendSegments(connection);
  SendWaiting(connection, true);
  if (connection.state != ConnectionState::kOpen) return;
  Handoff handoff;
  handoff.listener = connection.listener;
  handoff.framing = connection.framing;
  handoff.opened_json = std::move(connection.opened_json);
  handoff.ticket = std::move(connection.ticket);
  handoff.bytes.assign(command.bytes.begin(), command.bytes.end());
  const std::span<const uint8_t> partial = connection.partial.bytes();
  handoff.bytes.insert(handoff.bytes.end(), partial.begin(), partial.end());
  const std::span<const uint8_t> unsent = connection.overflow.bytes();
  handoff.unsent.assign(unsent.begin(), unsent.end());
  Detach(connection);
  handoff.fd = connection.fd.Release();
  handoff.tls = std::move(connection.tls);
  handoff.websocket = std::move(connection.websocket);
  const bool is_pushed = InboxTable::Instance().Push(command.value, handoff);
  const uint32_t reason = is_pushed ? CLOSE_REASON_MIGRATED : CLOSE_REASON_SHARD_GONE;
  overflow_total_ -= connection.overflow.size();
  connection.overflow.Clear();
  connection.partial.Clear();
  connection.state = ConnectionState::kClosed;
  connection.flags &= flag::kDirty;
  open_count_--;
  Count(REACTOR_COUNTER_CLOSED + reason);
  notices_.push_back({INBOUND_CLOSED, connection.id, reason});
}

// 0 = none. Whoever is not read by our own doing is exempt from keep-alive.
uint64_t Reactor::DeadlineOf(const Connection& connection) const {
  if (connection.state == ConnectionState::kFlushing || connection.state == ConnectionState::kLingering) return connection.linger_until;
  if (connection.Has(flag::kReadStopped)) return connection.progress_at + STALL_DEADLINE_MS;
  if (connection.keep_alive_ms == 0 || connection.Has(flag::kUnreadable)) return 0;
  return std::max(connection.active_at, resumed_at_) + connection.keep_alive_ms;
}

void Reactor::ArmDeadline(Connection& connection) {
  const uint64_t due = DeadlineOf(connection);
  if (due == 0) return;  // an armed tick finds out by itself
  if (!connection.is_armed() || connection.due > due) wheel_.Arm(connection, due);
}

void Reactor::OnDue(Connection& connection) {
  const uint64_t due = DeadlineOf(connection);
  if (due > now_) {
    wheel_.Arm(connection, due);
    return;
  }
  if (due == 0) return;
  if (connection.state != ConnectionState::kOpen) {
    Close(connection, connection.close_reason);
    return;
  }
  if (connection.Has(flag::kReadStopped)) {
    Close(connection, CLOSE_REASON_STALLED);
    return;
  }
  // Bytes that wait in the kernel while we are late, or do not read at all for now, are the peer's sign of life.
  uint8_t byte = 0;
  if (!MayRead() || recv(connection.fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
    connection.active_at = now_;
    ArmDeadline(connection);
    return;
  }
  Close(connection, CLOSE_REASON_KEEP_ALIVE);
}

std::string Reactor::PeerFault(uint32_t id, const PeerTrust& trust) {
  const Connection* connection = connections_.Find(id);
  return connection == nullptr || connection->tls == nullptr ? std::string() : trust.Fault(connection->tls->ssl());
}

void Reactor::Drain(uint32_t reason, uint32_t linger_ms) {
  if (is_stopped_ || drain_ != DrainState::kNone) return;
  drain_ = DrainState::kAsked;
  drain_reason_ = reason;
  drain_linger_ms_ = linger_ms;
  InboxTable::Instance().Close(shard_);
  adopting_.clear();
  host_.CallLater();
}

// After one more batch, whose commands (a farewell to each client) still go out.
void Reactor::BeginDrain() {
  drain_ = DrainState::kClosing;
  const uint64_t until = now_ + drain_linger_ms_;
  connections_.ForEach([&](Connection& connection) {
    if (connection.state == ConnectionState::kOpen) {
      BeginClose(connection, drain_reason_, until);
    } else if (connection.fd.is_open() && connection.linger_until > until) {
      connection.linger_until = until;
      ArmDeadline(connection);
    }
  });
}

}  // namespace penstock

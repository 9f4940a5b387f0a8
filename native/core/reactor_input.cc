// Sockets -> inbound ring. Hot path.
//
// The common read is one recv() straight into the ring, behind what the connection already has of a frame. A frame that is known to be
// larger than the read budget gathers in the connection's own memory, up to 64 KiB a turn, and is copied into the ring when it is whole.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "reactor.h"

namespace penstock {

namespace {

constexpr uint32_t kDiscardsMax = 4;

bool IsLarge(const Connection& connection) { return connection.need > READ_BUDGET || connection.partial.size() > READ_BUDGET; }

ssize_t Recv(int fd, uint8_t* room, size_t size) { return recv(fd, room, size, MSG_DONTWAIT); }

}  // namespace

Reactor::Received Reactor::Receive(Connection& connection, uint32_t events) {
  if (connection.state == ConnectionState::kLingering) {
    Discard(connection);
    return Received::kDone;
  }
  if (connection.state != ConnectionState::kOpen || connection.Has(flag::kUnreadable)) {
    // The hold and the pauses are lazy: reading is switched off only when something comes meanwhile. A reset is told in any case, and
    // again and again until somebody closes.
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
      Close(connection, CLOSE_REASON_PEER_RESET);
    } else {
      SetPolling(connection, false);
    }
    return Received::kDone;
  }
  if (IsLarge(connection)) {
    ReceiveLarge(connection);
    return Received::kDone;
  }
  return connection.tls ? ReceiveTls(connection) : ReceivePlain(connection);
}

Reactor::Received Reactor::ReceivePlain(Connection& connection) {
  const size_t held = connection.partial.size();
  uint8_t* room = inbound_.Reserve(static_cast<uint32_t>(held) + READ_BUDGET);
  if (room == nullptr) return Received::kRingFull;
  const ssize_t size = Recv(connection.fd.get(), room + held, READ_BUDGET);
  Count(REACTOR_COUNTER_RECV_CALLS);
  if (size <= 0) {
    EndOfInput(connection, size);
    return Received::kDone;
  }
  Count(REACTOR_COUNTER_BYTES_IN, static_cast<double>(size));
  auto fresh = static_cast<size_t>(size);
  if (!Unframe(connection, room + held, fresh)) return Received::kDone;
  if (fresh > 0) {
    if (held > 0) std::memcpy(room, connection.partial.bytes().data(), held);
    Delimit(connection, room, held, fresh);
  }
  EndOfWebSocket(connection);
  return Received::kDone;
}

Reactor::Received Reactor::ReceiveTls(Connection& connection) {
  const size_t held = connection.partial.size();
  // All that this read can decrypt to, with what the SSL has buffered of a record before: nothing decrypted is left over.
  const size_t plain_max = READ_BUDGET + kTlsRecordMax;
  uint8_t* room = inbound_.Reserve(static_cast<uint32_t>(held + plain_max));
  if (room == nullptr) return Received::kRingFull;
  const ssize_t size = Recv(connection.fd.get(), scratch_.data(), READ_BUDGET);
  Count(REACTOR_COUNTER_RECV_CALLS);
  if (size <= 0) {
    EndOfInput(connection, size);
    return Received::kDone;
  }
  Count(REACTOR_COUNTER_BYTES_IN, static_cast<double>(size));
  size_t fresh = 0;
  const TlsResult result = Decrypt(connection, {scratch_.data(), static_cast<size_t>(size)}, {room + held, plain_max}, fresh);
  if (connection.state != ConnectionState::kOpen || !Unframe(connection, room + held, fresh)) return Received::kDone;
  if (fresh > 0) {
    if (held > 0) std::memcpy(room, connection.partial.bytes().data(), held);
    Delimit(connection, room, held, fresh);
  }
  EndOfWebSocket(connection);
  EndOfTls(connection, result);
  return Received::kDone;
}

void Reactor::ReceiveLarge(Connection& connection) {
  const size_t held = connection.partial.size();
  const size_t size = connection.need > held ? std::min<size_t>(kLargeReadSize, connection.need - held) : kLargeReadSize;
  const bool is_tls = connection.tls != nullptr;
  uint8_t* room = connection.partial.Extend(is_tls ? size + kTlsRecordMax : size);
  if (room == nullptr) {
    Close(connection, CLOSE_REASON_OUT_OF_MEMORY);
    return;
  }
  const ssize_t got = Recv(connection.fd.get(), is_tls ? scratch_.data() : room, size);
  Count(REACTOR_COUNTER_RECV_CALLS);
  if (got <= 0) {
    EndOfInput(connection, got);
    return;
  }
  Count(REACTOR_COUNTER_BYTES_IN, static_cast<double>(got));
  size_t fresh = static_cast<size_t>(got);
  TlsResult result = TlsResult::kWantInput;
  if (is_tls) {
    result = Decrypt(connection, {scratch_.data(), static_cast<size_t>(got)}, {room, size + kTlsRecordMax}, fresh);
    if (connection.state != ConnectionState::kOpen) return;
  }
  if (!Unframe(connection, room, fresh)) return;
  connection.partial.Grow(fresh);
  if (connection.partial.size() >= connection.need && !DeliverPartial(connection)) AddToBacklog(connection);
  EndOfWebSocket(connection);
  EndOfTls(connection, result);
}

// Decrypts all of `cipher` into `plain` and sends what TLS has to say by itself (key updates, alerts): that may close the connection.
TlsResult Reactor::Decrypt(Connection& connection, std::span<const uint8_t> cipher, std::span<uint8_t> plain, size_t& count) {
  count = 0;
  TlsResult result = TlsResult::kOk;
  while (result == TlsResult::kOk && count < plain.size()) {
    size_t got = 0;
    const size_t before = cipher.size();
    result = connection.tls->Read(cipher, plain.subspan(count), got, cipher_);
    count += got;
    if (got == 0 && cipher.size() == before) break;
  }
  if (!cipher_.bytes.empty()) SendCipher(connection);
  return result;
}

void Reactor::EndOfTls(Connection& connection, TlsResult result) {
  if (connection.state != ConnectionState::kOpen) return;
  if (result == TlsResult::kFailed) {
    Close(connection, CLOSE_REASON_TLS_ERROR);
  } else if (result == TlsResult::kClosed) {
    EndOfInput(connection, 0);
  }
}

// `bytes` lies in the room reserved in the ring: `held` bytes that the connection had of a frame, then fresh ones. Commits the whole
// frames as one record and keeps the rest.
void Reactor::Delimit(Connection& connection, const uint8_t* bytes, size_t held, size_t fresh) {
  const bool is_first = connection.Has(flag::kHoldAfterFirst);
  const FrameRules rules{connection.framing, connection.frame_size_max, is_first ? 1 : UINT32_MAX};
  const FrameScan scan = ScanFrames(rules, {bytes, held + fresh}, held);
  if (scan.whole > 0) {
    inbound_.Commit(INBOUND_DATA, connection.id, static_cast<uint32_t>(scan.whole));
    Count(REACTOR_COUNTER_FRAMES_IN, scan.count);
  }
  if (scan.fault != FrameFault::kNone) {
    Fault(connection, scan.fault);
    return;
  }
  const size_t kept = scan.whole > 0 ? scan.whole : held;  // what `partial` need not take over any more
  if (scan.whole > 0) connection.partial.Clear();
  connection.need = static_cast<uint32_t>(scan.need);
  if (is_first && scan.count > 0) {
    connection.Clear(flag::kHoldAfterFirst);
    connection.Set(flag::kHeld);
  }
  if (!connection.partial.Append({bytes + kept, held + fresh - kept})) Close(connection, CLOSE_REASON_OUT_OF_MEMORY);
}

// What came can never become a frame: JavaScript tells the peer and closes. Held until then, which nothing but CLOSE ends.
void Reactor::Fault(Connection& connection, FrameFault fault) {
  const uint32_t reason = fault == FrameFault::kMalformed ? CLOSE_REASON_FRAME_MALFORMED : CLOSE_REASON_FRAME_TOO_LARGE;
  connection.Clear(flag::kHoldAfterFirst);
  connection.Set(flag::kHeld);
  connection.partial.Clear();
  connection.need = 0;
  SetPolling(connection, false);
  notices_.push_back({INBOUND_FAULT, connection.id, reason});
}

// Copies whole frames out of the connection's own memory into the ring. False when the ring is full.
bool Reactor::DeliverPartial(Connection& connection) {
  while (connection.state == ConnectionState::kOpen && !connection.partial.empty() && !connection.Has(flag::kHeld)) {
    const std::span<const uint8_t> bytes = connection.partial.bytes();
    const bool is_first = connection.Has(flag::kHoldAfterFirst);
    FrameRules rules{connection.framing, connection.frame_size_max, is_first ? 1 : UINT32_MAX};
    // Small frames go together in records of bounded size; a frame larger than that goes alone.
    FrameScan scan = ScanFrames(rules, bytes.first(std::min<size_t>(bytes.size(), READ_BUDGET)));
    if (scan.whole == 0 && scan.fault == FrameFault::kNone && bytes.size() > READ_BUDGET) {
      rules.count_max = 1;
      scan = ScanFrames(rules, bytes);
    }
    if (scan.whole > 0) {
      uint8_t* room = inbound_.Reserve(static_cast<uint32_t>(scan.whole));
      if (room == nullptr) return false;
      std::memcpy(room, bytes.data(), scan.whole);
      inbound_.Commit(INBOUND_DATA, connection.id, static_cast<uint32_t>(scan.whole));
      Count(REACTOR_COUNTER_FRAMES_IN, scan.count);
      connection.partial.Consume(scan.whole);
      if (is_first) {
        connection.Clear(flag::kHoldAfterFirst);
        connection.Set(flag::kHeld);
      }
    }
    connection.need = static_cast<uint32_t>(scan.need);
    if (scan.fault != FrameFault::kNone) {
      Fault(connection, scan.fault);
    } else if (scan.whole == 0) {
      break;
    }
  }
  return true;
}

// A connection that waits for the ring, or whose hold ended: its frames, then what the SSL still holds, then reading goes on. False
// when the ring is full; the caller keeps it in the backlog.
bool Reactor::DeliverBacklog(Connection& connection) {
  for (;;) {
    if (!DeliverPartial(connection)) return false;
    const bool is_ended = connection.websocket && connection.websocket->is_ended;
    if (connection.state != ConnectionState::kOpen || connection.Has(flag::kHeld) || is_ended || !connection.tls || !connection.tls->HasPending()) break;
    uint8_t* room = connection.partial.Extend(kTlsRecordMax);
    if (room == nullptr) {
      Close(connection, CLOSE_REASON_OUT_OF_MEMORY);
      break;
    }
    size_t fresh = 0;
    const TlsResult result = Decrypt(connection, {}, {room, kTlsRecordMax}, fresh);
    if (connection.state != ConnectionState::kOpen) break;
    const bool is_empty = fresh == 0;
    if (!Unframe(connection, room, fresh)) break;
    connection.partial.Grow(fresh);
    if (is_empty || result == TlsResult::kClosed || result == TlsResult::kFailed) {
      const bool is_delivered = DeliverPartial(connection);
      EndOfTls(connection, result);
      if (!is_delivered) return false;
      break;
    }
  }
  connection.Clear(flag::kBacklogged);
  EndOfWebSocket(connection);
  ResumeReading(connection);
  return true;
}

void Reactor::AddToBacklog(Connection& connection) {
  if (connection.Has(flag::kBacklogged)) return;
  connection.Set(flag::kBacklogged);
  backlog_.push_back(&connection);
}

void Reactor::EndOfInput(Connection& connection, ssize_t result) {
  if (result < 0) {
    if (errno != EAGAIN && errno != EINTR) Close(connection, CLOSE_REASON_PEER_RESET);
    return;
  }
  // The peer may still read (half-close): replies to its last frames go out before we close.
  connection.Set(flag::kPeerFinished);
  BeginClose(connection, CLOSE_REASON_PEER_CLOSED, now_ + LINGER_DEADLINE_MS);
}

void Reactor::Discard(Connection& connection) {
  for (uint32_t i = 0; i < kDiscardsMax; i++) {
    const ssize_t size = Recv(connection.fd.get(), scratch_.data(), scratch_.size());
    Count(REACTOR_COUNTER_RECV_CALLS);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
      Close(connection, connection.close_reason);
      return;
    }
  }
}

void Reactor::SetPolling(Connection& connection, bool is_wanted) {
  if (connection.Has(flag::kPollsIn) == is_wanted) return;
  epoll_event event{};
  event.events = is_wanted ? static_cast<uint32_t>(EPOLLIN) : 0u;
  event.data.u64 = connection.id;
  epoll_ctl(sockets_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event);
  is_wanted ? connection.Set(flag::kPollsIn) : connection.Clear(flag::kPollsIn);
}

void Reactor::ResumeReading(Connection& connection) {
  if (connection.state == ConnectionState::kOpen && !connection.Has(flag::kUnreadable)) SetPolling(connection, true);
}

}  // namespace penstock

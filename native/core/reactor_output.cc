// Commands -> sockets. Hot path.
//
// Commands only link segments to their connections (a multicast to 1000 receivers is 1000 segments of 16 bytes that all point at one
// payload); afterwards each connection that got any sends once. What the kernel does not take of that is copied to the connection's
// overflow; what comes while there is one is copied behind it, as it was given (packet_queue.h), and sent when the overflow is empty.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>

#include "reactor.h"

namespace penstock {

namespace {

constexpr size_t kOverflowSendMax = 256 * 1024;
constexpr size_t kVectorsMax = 64;
constexpr size_t kCipherKeptMax = 1024 * 1024;
constexpr size_t kShedParts = 8;

}  // namespace

bool Reactor::Flush(uint32_t size) { return is_stopped_ || RunCommands(size); }

bool Reactor::RunCommands(uint32_t size) {
  if (size > commands_.size()) return false;
  const RingMemory& ring = inbound_.memory();
  CommandReader reader(commands_.first(size), {ring.data, ring.capacity});
  Command command;
  CommandResult result = CommandResult::kEnd;
  while ((result = reader.Next(command)) == CommandResult::kCommand) RunCommand(command);
  for (Connection* connection : dirty_) {
    connection->Clear(flag::kDirty);
    SendSegments(*connection);
  }
  dirty_.clear();
  segments_.clear();
  return result == CommandResult::kEnd;
}

void Reactor::RunCommand(const Command& command) {
  if (command.kind == COMMAND_MULTICAST || command.kind == COMMAND_MULTICAST_REF) {
    RunMulticast(command);
    return;
  }
  if (command.kind == COMMAND_MULTICAST_PATCHED) {
    RunMulticastPatched(command);
    return;
  }
  Connection* found = connections_.Find(command.id);
  if (found == nullptr) return;  // gone before JavaScript knew
  Connection& connection = *found;
  switch (command.kind) {
    case COMMAND_DATA:
    case COMMAND_DATA_REF:
      if (connection.TakesOutput()) QueueSegment(connection, command.bytes);
      return;
    case COMMAND_FREE:
      Free(connection);
      return;
    default:
      break;
  }
  if (connection.state != ConnectionState::kOpen) return;
  switch (command.kind) {
    case COMMAND_ACCEPT:
      Accept(connection);
      return;
    case COMMAND_CLOSE:
      BeginClose(connection, command.value, now_ + LINGER_DEADLINE_MS);
      return;
    case COMMAND_PAUSE:
      connection.Set(flag::kPaused);
      return;
    case COMMAND_RESUME:
      connection.Clear(flag::kPaused);
      connection.active_at = now_;
      ArmDeadline(connection);
      ResumeReading(connection);
      return;
    case COMMAND_KEEP_ALIVE:
      connection.keep_alive_ms = command.value;
      connection.active_at = now_;
      ArmDeadline(connection);
      return;
    case COMMAND_MIGRATE:
      Migrate(connection, command);
      return;
    case COMMAND_FRAMING:
      connection.framing = static_cast<uint8_t>(command.value);
      connection.need = 0;
      if (!connection.partial.empty() && !connection.Has(flag::kHeld)) AddToBacklog(connection);
      return;
    case COMMAND_FRAME_SIZE_MAX:
      connection.frame_size_max = std::min(command.value, frame_size_max_);
      return;
    default:
      return;
  }
}

void Reactor::RunMulticast(const Command& command) {
  for (const uint32_t id : command.receivers) {
    Connection* connection = connections_.Find(id);
    if (connection == nullptr || !connection->TakesOutput()) continue;
    // First, since what is sent by that may be what fills the kernel's buffer.
    if (!MakeRoom(*connection, command.bytes.size())) continue;
    if (connection->overflow.empty()) LinkSegment(*connection, command.bytes);
    else QueueDroppable(*connection, command.bytes);
  }
}

void Reactor::RunMulticastPatched(const Command& command) {
  const std::span<const uint8_t> before = command.bytes.first(command.value);
  const std::span<const uint8_t> behind = command.bytes.subspan(command.value + Patch::kSize);
  for (const Patch& patch : command.patches) {
    Connection* connection = connections_.Find(patch.id);
    if (connection == nullptr || !connection->TakesOutput()) continue;
    if (!MakeRoom(*connection, command.bytes.size())) continue;
    LinkSegment(*connection, before);
    LinkSegment(*connection, patch.bytes);
    LinkSegment(*connection, behind);
  }
}

void Reactor::QueueSegment(Connection& connection, std::span<const uint8_t> bytes) {
  if (MakeRoom(connection, bytes.size())) LinkSegment(connection, bytes);
}

// Sends what is queued already when with `size` more it could not be gathered for one send; thus the marks see, too, what the kernel has
// really not taken, however much one batch sends to one connection. False when that was its end.
bool Reactor::MakeRoom(Connection& connection, size_t size) {
  if (connection.queued == 0 || connection.queued + size <= scratch_.size()) return true;
  SendSegments(connection);
  return connection.fd.is_open();
}

void Reactor::LinkSegment(Connection& connection, std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  const auto index = static_cast<uint32_t>(segments_.size());
  segments_.push_back({bytes.data(), static_cast<uint32_t>(bytes.size()), kNoSegment});
  if (connection.first_segment == kNoSegment) {
    connection.first_segment = index;
    if (!connection.Has(flag::kDirty)) {
      connection.Set(flag::kDirty);
      dirty_.push_back(&connection);
    }
  } else {
    segments_[connection.last_segment].next = index;
  }
  connection.last_segment = index;
  connection.queued += static_cast<uint32_t>(bytes.size());
}

// A delivery that can be lost, for a receiver that does not keep up: beyond the mark it takes the place of the oldest of its kind.
void Reactor::QueueDroppable(Connection& connection, std::span<const uint8_t> bytes) {
  SendSegments(connection);
  if (!connection.fd.is_open() || bytes.empty()) return;
  // For one that would not fit beside what has to stay, none would go but in vain.
  const size_t staying = connection.Unsent() - (connection.waiting ? connection.waiting->droppable() : 0);
  if (staying + bytes.size() <= OVERFLOW_DELIVERY_MARK) Shed(connection, bytes.size());
  if (connection.Unsent() + bytes.size() > DeliveryMark()) {
    Count(REACTOR_COUNTER_DELIVERIES_DROPPED);
    Press(connection);
    return;
  }
  KeepWaiting(connection, bytes, true);
}

void Reactor::SendSegments(Connection& connection) {
  uint32_t index = connection.first_segment;
  uint32_t total = connection.queued;
  connection.first_segment = kNoSegment;
  connection.queued = 0;
  if (index == kNoSegment) return;
  if (connection.overflow.empty()) {
    Transmit(connection, index, total);
    return;
  }
  // Framed and encrypted when its turn comes: until then something before it may be dropped.
  for (; index != kNoSegment; index = segments_[index].next) KeepWaiting(connection, {segments_[index].at, segments_[index].size}, false);
  Shed(connection, 0);
  CheckMarks(connection);
}

// What is given to this is on its way: in this order, framed and encrypted, to the kernel or into the overflow.
void Reactor::Transmit(Connection& connection, uint32_t index, uint32_t total) {
  if (connection.websocket) index = PrependHeader(index, total);
  if (connection.tls) {
    SendEncrypted(connection, index, total);
    return;
  }
  if (segments_[index].next == kNoSegment) {
    SendRaw(connection, {segments_[index].at, segments_[index].size});
  } else if (total <= scratch_.size()) {
    size_t at = 0;
    for (; index != kNoSegment; index = segments_[index].next) {
      std::memcpy(scratch_.data() + at, segments_[index].at, segments_[index].size);
      at += segments_[index].size;
    }
    SendRaw(connection, {scratch_.data(), total});
  } else {
    SendMany(connection, index);
  }
}

void Reactor::KeepWaiting(Connection& connection, std::span<const uint8_t> bytes, bool is_droppable) {
  if (!connection.fd.is_open()) return;
  if (!connection.waiting) connection.waiting = std::make_unique<PacketQueue>();
  if (!connection.waiting->Append(bytes, is_droppable)) {
    Close(connection, CLOSE_REASON_OUT_OF_MEMORY);
    return;
  }
  overflow_total_ += bytes.size();
}

// Sends what waits as far as the kernel takes it, or (is_all) puts it all on its way.
void Reactor::SendWaiting(Connection& connection, bool is_all) {
  while (connection.waiting && (is_all || connection.overflow.empty())) {
    const std::span<const uint8_t> front = connection.waiting->Front(kLargeReadSize);
    const size_t segments = segments_.size();
    segments_.push_back({front.data(), static_cast<uint32_t>(front.size()), kNoSegment});
    // Moved out: sending can close the connection, and with it what waits.
    std::unique_ptr<PacketQueue> waiting = std::move(connection.waiting);
    overflow_total_ -= waiting->size();
    Transmit(connection, static_cast<uint32_t>(segments), static_cast<uint32_t>(front.size()));
    segments_.resize(segments);
    if (!connection.fd.is_open()) return;
    waiting->Consume(front.size());
    if (waiting->empty()) return;
    overflow_total_ += waiting->size();
    connection.waiting = std::move(waiting);
  }
}

// Makes room for `room` bytes below the delivery mark as far as packets that can be lost give it; a few at once, so that it is not done for each.
void Reactor::Shed(Connection& connection, size_t room) {
  const size_t mark = DeliveryMark();
  const size_t size = connection.Unsent() + room;
  if (size <= mark || !connection.waiting) return;
  const PacketQueue::Dropped dropped = connection.waiting->DropOldest(std::max(size - mark, mark / kShedParts));
  if (dropped.packets == 0) return;
  overflow_total_ -= dropped.bytes;
  Count(REACTOR_COUNTER_DELIVERIES_DROPPED, static_cast<double>(dropped.packets));
  if (connection.waiting->empty()) connection.waiting.reset();
  Press(connection);
}

void Reactor::Press(Connection& connection) {
  if (connection.Has(flag::kPressed)) return;
  connection.Set(flag::kPressed);
  notices_.push_back({INBOUND_PRESSED, connection.id, 0});
}

// Several segments that are too large to gather: the kernel gathers them, unless something goes before them.
void Reactor::SendMany(Connection& connection, uint32_t index) {
  size_t sent = 0;  // of what begins at `index`
  while (index != kNoSegment && connection.overflow.empty()) {
    std::array<iovec, kVectorsMax> vectors;
    size_t count = 0;
    size_t total = 0;
    uint32_t next = index;
    for (; next != kNoSegment && count < kVectorsMax; next = segments_[next].next) {
      vectors[count++] = {const_cast<uint8_t*>(segments_[next].at), segments_[next].size};
      total += segments_[next].size;
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    const ssize_t result = sendmsg(connection.fd.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    Count(REACTOR_COUNTER_SEND_CALLS);
    if (result < 0 && errno != EAGAIN && errno != EINTR) {
      Close(connection, CLOSE_REASON_PEER_RESET);
      return;
    }
    sent = result < 0 ? 0 : static_cast<size_t>(result);
    Count(REACTOR_COUNTER_BYTES_OUT, static_cast<double>(sent));
    if (sent < total) break;
    index = next;
    sent = 0;
  }
  if (index == kNoSegment) return;
  for (; index != kNoSegment; index = segments_[index].next) {
    const Segment& segment = segments_[index];
    const size_t skipped = std::min<size_t>(sent, segment.size);
    sent -= skipped;
    AppendOverflow(connection, {segment.at + skipped, segment.size - skipped});
  }
  CheckMarks(connection);
}

void Reactor::SendEncrypted(Connection& connection, uint32_t index, uint32_t total) {
  bool is_ok = true;
  if (segments_[index].next == kNoSegment) {
    is_ok = connection.tls->Write({segments_[index].at, total}, cipher_);
  } else {
    // Gathered first: one TLS record holds many small packets.
    size_t at = 0;
    for (; is_ok && index != kNoSegment; index = segments_[index].next) {
      const Segment& segment = segments_[index];
      if (at + segment.size > scratch_.size()) {
        is_ok = at == 0 || connection.tls->Write({scratch_.data(), at}, cipher_);
        at = 0;
      }
      if (segment.size > scratch_.size()) {
        is_ok = is_ok && connection.tls->Write({segment.at, segment.size}, cipher_);
        continue;
      }
      std::memcpy(scratch_.data() + at, segment.at, segment.size);
      at += segment.size;
    }
    if (is_ok && at > 0) is_ok = connection.tls->Write({scratch_.data(), at}, cipher_);
  }
  if (is_ok) {
    SendCipher(connection);
  } else {
    cipher_.bytes.clear();
    Close(connection, CLOSE_REASON_TLS_ERROR);
  }
}

void Reactor::SendCipher(Connection& connection) {
  SendRaw(connection, cipher_.bytes);
  cipher_.bytes.clear();
  if (cipher_.bytes.capacity() > kCipherKeptMax) cipher_.bytes.shrink_to_fit();
}

void Reactor::SendRaw(Connection& connection, std::span<const uint8_t> bytes) {
  size_t sent = 0;
  if (connection.overflow.empty() && !bytes.empty()) {
    const ssize_t result = send(connection.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    Count(REACTOR_COUNTER_SEND_CALLS);
    if (result < 0 && errno != EAGAIN && errno != EINTR) {
      Close(connection, CLOSE_REASON_PEER_RESET);
      return;
    }
    if (result > 0) sent = static_cast<size_t>(result);
    Count(REACTOR_COUNTER_BYTES_OUT, static_cast<double>(sent));
  }
  if (sent == bytes.size()) return;
  AppendOverflow(connection, bytes.subspan(sent));
  CheckMarks(connection);
}

void Reactor::AppendOverflow(Connection& connection, std::span<const uint8_t> bytes) {
  if (bytes.empty() || !connection.fd.is_open()) return;
  if (!connection.overflow.Append(bytes)) {
    Close(connection, CLOSE_REASON_OUT_OF_MEMORY);
    return;
  }
  overflow_total_ += bytes.size();
  if (connection.Has(flag::kPollsOut)) return;
  connection.Set(flag::kPollsOut);
  epoll_event event{};
  event.events = EPOLLOUT;
  event.data.u64 = connection.id;
  epoll_ctl(control_.get(), EPOLL_CTL_ADD, connection.fd.get(), &event);
}

// After the overflow grew (design: limits and pressure).
void Reactor::CheckMarks(Connection& connection) {
  if (!connection.fd.is_open()) return;
  const size_t size = connection.Unsent();
  if (size > HardMark()) {
    Close(connection, CLOSE_REASON_STALLED);
    return;
  }
  if (size > OVERFLOW_READ_STOP_MARK && !connection.Has(flag::kReadStopped) && connection.state == ConnectionState::kOpen) {
    connection.Set(flag::kReadStopped);
    connection.progress_at = now_;
    ArmDeadline(connection);
  }
  if (size > DeliveryMark()) Press(connection);
}

void Reactor::Writable(Connection& connection) {
  const std::span<const uint8_t> bytes = connection.overflow.bytes();
  const ssize_t result = send(connection.fd.get(), bytes.data(), std::min(bytes.size(), kOverflowSendMax), MSG_DONTWAIT | MSG_NOSIGNAL);
  Count(REACTOR_COUNTER_SEND_CALLS);
  if (result < 0) {
    if (errno != EAGAIN && errno != EINTR) Close(connection, CLOSE_REASON_PEER_RESET);
    return;
  }
  Count(REACTOR_COUNTER_BYTES_OUT, static_cast<double>(result));
  connection.overflow.Consume(static_cast<size_t>(result));
  overflow_total_ -= static_cast<size_t>(result);
  connection.progress_at = now_;
  SendWaiting(connection, false);
  if (!connection.fd.is_open()) return;
  if (connection.Has(flag::kReadStopped) && connection.Unsent() <= OVERFLOW_DELIVERY_MARK) {
    connection.Clear(flag::kReadStopped);
    connection.active_at = now_;
    ArmDeadline(connection);
    ResumeReading(connection);
  }
  if (!connection.overflow.empty()) return;
  epoll_ctl(control_.get(), EPOLL_CTL_DEL, connection.fd.get(), nullptr);
  connection.Clear(flag::kPollsOut);
  if (connection.Has(flag::kPressed)) {
    connection.Clear(flag::kPressed);
    notices_.push_back({INBOUND_RELIEVED, connection.id, 0});
  }
  if (connection.state == ConnectionState::kFlushing) {
    connection.Set(flag::kSettling);
    settling_.push_back(&connection);
  }
}

}  // namespace penstock

// The WebSocket layer of a reactor's connections: it lies between the socket (or TLS) and the framer. Hot path.
//
// Inbound, frames are taken off right where the bytes were received, before anything looks for packets. Outbound, everything that one
// send carries to a connection becomes one frame: packets and frames need not agree [MQTT-6.0.0-2].
#include "reactor.h"

namespace penstock {

namespace {

uint16_t CloseCodeOf(uint32_t reason) {
  switch (reason) {
    case CLOSE_REASON_SHUTDOWN:
    case CLOSE_REASON_SHARD_GONE:
      return close_code::kGoingAway;
    case CLOSE_REASON_FRAME_MALFORMED:
    case CLOSE_REASON_PROTOCOL_ERROR:
      return close_code::kProtocolError;
    case CLOSE_REASON_FRAME_TOO_LARGE:
      return close_code::kTooLarge;
    case CLOSE_REASON_NOT_AUTHORISED:
    case CLOSE_REASON_LIMIT:
      return close_code::kPolicy;
    default:
      return close_code::kNormal;
  }
}

}  // namespace

// What was received at `bytes` becomes the stream inside it. False: the connection ended by the way.
// For keep-alive only the stream counts: a Ping of WebSocket is no MQTT packet [MQTT-3.1.2-24].
bool Reactor::Unframe(Connection& connection, uint8_t* bytes, size_t& count) {
  if (!connection.websocket) {
    connection.active_at = now_;
    return true;
  }
  count = connection.websocket->Take({bytes, count}, pong_);
  if (count > 0) connection.active_at = now_;
  if (!pong_.empty()) SendControl(connection, pong_);
  return connection.state == ConnectionState::kOpen;
}

// After what came before the peer's Close, or before its fault, was delivered. While some of that waits, it is asked again later.
void Reactor::EndOfWebSocket(Connection& connection) {
  if (!connection.websocket || !connection.websocket->is_ended) return;
  if (connection.state != ConnectionState::kOpen || connection.Has(flag::kHeld | flag::kBacklogged)) return;
  const bool is_fault = connection.websocket->fault != nullptr;
  connection.Set(flag::kStreamEnded);
  BeginClose(connection, is_fault ? CLOSE_REASON_WEBSOCKET_ERROR : CLOSE_REASON_PEER_CLOSED, now_ + LINGER_DEADLINE_MS);
}

// Puts the header of one frame before a connection's segments; it lives until the next call, as long as they are being sent.
uint32_t Reactor::PrependHeader(uint32_t first, uint32_t& total) {
  header_ = BinaryHeader(total);
  total += header_.size;
  segments_.push_back({header_.bytes.data(), header_.size, first});
  return static_cast<uint32_t>(segments_.size() - 1);
}

// A frame of the WebSocket layer itself.
void Reactor::SendControl(Connection& connection, std::span<const uint8_t> frame) {
  if (!connection.tls) {
    SendRaw(connection, frame);
  } else if (connection.tls->Write(frame, cipher_)) {
    SendCipher(connection);
  } else {
    cipher_.bytes.clear();
    Close(connection, CLOSE_REASON_TLS_ERROR);
  }
}

// The last bytes of a connection that ends in order.
void Reactor::SayGoodbye(Connection& connection) {
  if (connection.websocket) {
    const uint16_t owed = connection.websocket->close_code;
    SendControl(connection, CloseFrame(owed == 0 ? CloseCodeOf(connection.close_reason) : owed));
  }
  if (!connection.tls) return;
  connection.tls->Shutdown(cipher_);
  SendCipher(connection);
}

}  // namespace penstock

// One pending connection of the front: handshake, first frame, hand-over. All on the front's thread.
#include <openssl/err.h>
#include <openssl/x509.h>

#include <cerrno>

#include "front.h"
#include "layout.h"
#include "opened.h"

namespace penstock {
namespace {

// A shard gets the peer's certificate as text in one record; what is longer is an attack, not an identity.
constexpr size_t kOpenedSizeMax = 16 * 1024;

// True when the client's certificate is what failed: none given, not verified, revoked, expired.
bool IsAboutClientCertificate(unsigned long failure) {
  if (ERR_GET_LIB(failure) != ERR_LIB_SSL) return false;
  const int reason = ERR_GET_REASON(failure);
  return reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE || reason == SSL_R_CERTIFICATE_VERIFY_FAILED;
}

// Reasons from here on are alerts that the peer sent (OpenSSL: SSL_AD_REASON_OFFSET + the alert).
bool IsPeersAlert(unsigned long failure) {
  return ERR_GET_LIB(failure) == ERR_LIB_SSL && ERR_GET_REASON(failure) >= SSL_AD_REASON_OFFSET;
}

// A ticket may outlive the certificate that it was given for, and resumption verifies nothing.
bool IsCertificateExpired(SSL* ssl) {
  X509* certificate = SSL_get0_peer_certificate(ssl);
  return certificate != nullptr && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
}

bool IsLocalLoopback(int fd) {
  sockaddr_storage local{};
  socklen_t size = sizeof local;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) != 0) return false;
  return local.ss_family == AF_UNIX || ReadAddress(local).is_loopback;
}

}  // namespace

void Front::OnPendingEvent(Pending& pending, uint32_t events) {
  if ((events & EPOLLOUT) != 0 && !Flush(pending)) return;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  const ssize_t count = recv(pending.fd.get(), scratch_.data(), scratch_.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    Count(FRONT_COUNTER_PEER_CLOSED);
    return Discard(pending);
  }
  const auto received = std::span<const uint8_t>(scratch_).first(static_cast<size_t>(count));
  if (pending.tls != nullptr) {
    if (OnCipher(pending, received) == Step::kGone) return;
  } else {
    pending.bytes.insert(pending.bytes.end(), received.begin(), received.end());
  }
  if (!pending.is_in_handshake) (void)OnFrameBytes(pending);
}

// Uses all of `cipher`: the kernel holds the rest of what the peer sent, where the shard's epoll will see it.
Front::Step Front::OnCipher(Pending& pending, std::span<const uint8_t> cipher) {
  if (!pending.has_begun) {
    const char* why = WhyNotTls(cipher);
    if (why != nullptr) {
      Refuse(pending, FRONT_COUNTER_NOT_TLS, "NOT_TLS", why);
      return Step::kGone;
    }
    pending.has_begun = true;
  }
  if (pending.is_in_handshake) {
    const TlsResult result = pending.tls->Handshake(cipher, outbox_);
    if (!Flush(pending)) return Step::kGone;
    if (result == TlsResult::kWantInput) return Step::kStay;
    if (result != TlsResult::kOk) {
      OnTlsFailed(pending);
      return Step::kGone;
    }
    if (OnHandshakeDone(pending) == Step::kGone) return Step::kGone;
  }
  for (;;) {
    size_t count = 0;
    const TlsResult result = pending.tls->Read(cipher, plain_, count, outbox_);
    pending.bytes.insert(pending.bytes.end(), plain_.begin(), plain_.begin() + static_cast<ptrdiff_t>(count));
    if (result == TlsResult::kOk) continue;
    if (!Flush(pending)) return Step::kGone;
    // A CONNECT may come with its DISCONNECT and close_notify in one segment: the frames count, the shard sees the end.
    if (result == TlsResult::kWantInput || !pending.bytes.empty()) return Step::kStay;
    if (result == TlsResult::kFailed) {
      OnTlsFailed(pending);
    } else {
      Count(FRONT_COUNTER_PEER_CLOSED);
      Discard(pending);
    }
    return Step::kGone;
  }
}

Front::Step Front::OnHandshakeDone(Pending& pending) {
  Count(FRONT_COUNTER_HANDSHAKES_DONE);
  if (SSL_session_reused(pending.tls->ssl()) == 1) {
    Count(FRONT_COUNTER_HANDSHAKES_RESUMED);
    if (IsCertificateExpired(pending.tls->ssl())) {
      Refuse(pending, FRONT_COUNTER_CLIENT_CERTIFICATE_REFUSED, "CLIENT_CERTIFICATE_REFUSED", "certificate has expired since the session began");
      return Step::kGone;
    }
  }
  pending.is_in_handshake = false;
  pending.deadline_ms = now_ms_ + options_.first_frame_deadline_ms;
  awaiting_frame_.splice(awaiting_frame_.end(), handshaking_, pending.self);  // keeps address and iterator
  return Step::kStay;
}

// The alert that says why has been sent by Flush.
void Front::OnTlsFailed(Pending& pending) {
  const unsigned long failure = pending.tls->failure_code();
  if (failure == 0) {  // close_notify inside the handshake
    Count(FRONT_COUNTER_PEER_CLOSED);
    return Discard(pending);
  }
  std::string words = pending.tls->Failure();
  if (IsAboutClientCertificate(failure)) return Refuse(pending, FRONT_COUNTER_CLIENT_CERTIFICATE_REFUSED, "CLIENT_CERTIFICATE_REFUSED", std::move(words));
  if (IsPeersAlert(failure)) words = "the client gave up: " + words;
  Refuse(pending, FRONT_COUNTER_HANDSHAKE_FAILED, "HANDSHAKE_FAILED", std::move(words));
}

Front::Step Front::OnFrameBytes(Pending& pending) {
  const ListenerProtocol protocol = pending.listener->options.protocol;
  if (protocol == ListenerProtocol::kWebSocket) {
    if (OnWebSocketBytes(pending) == Step::kGone) return Step::kGone;
    if (pending.websocket == nullptr) return Step::kStay;
  }
  const FirstFrame frame = protocol == ListenerProtocol::kLine ? ReadLineFirstFrame(pending.bytes, options_.first_frame_size_max)
                                                               : ReadMqttFirstFrame(pending.bytes, options_.first_frame_size_max);
  switch (frame.state) {
    case FirstFrameState::kNeedMore:
      return pending.websocket != nullptr && pending.websocket->is_ended ? OnWebSocketEnd(pending) : Step::kStay;
    case FirstFrameState::kRefused:
      Refuse(pending, FRONT_COUNTER_FIRST_FRAME_REFUSED, "FIRST_FRAME_REFUSED", frame.detail);
      return Step::kGone;
    case FirstFrameState::kWhole:
      HandOver(pending, frame.size);
      return Step::kGone;
  }
  return Step::kStay;
}

void Front::HandOver(Pending& pending, size_t frame_size) {
  const bool is_mqtt = pending.listener->options.protocol != ListenerProtocol::kLine;
  ConnectHead head{ConnectKind::kUnknownVersion, {}};
  if (is_mqtt) head = ReadConnectHead(std::span(pending.bytes).first(frame_size));
  if (head.kind == ConnectKind::kMalformed)
    return Refuse(pending, FRONT_COUNTER_FIRST_FRAME_REFUSED, "FIRST_FRAME_REFUSED", "the CONNECT is malformed");
  const bool is_owned = head.kind == ConnectKind::kKnown && !head.client_id.empty();
  const uint32_t shard = is_owned ? Fnv1a(head.client_id) % options_.shards : 0;

  Opened opened;
  opened.listener = pending.listener->index;
  opened.peer = ReadAddress(pending.peer);
  opened.is_loopback = pending.is_direct && opened.peer.is_loopback && IsLocalLoopback(pending.fd.get());
  opened.ssl = pending.tls == nullptr ? nullptr : pending.tls->ssl();
  std::string opened_json = OpenedJson(opened);
  if (opened_json.size() > kOpenedSizeMax)
    return Refuse(pending, FRONT_COUNTER_CLIENT_CERTIFICATE_REFUSED, "CLIENT_CERTIFICATE_REFUSED", "the names in the certificate are too long");

  // Before the push: from then on the descriptor is the shard's.
  if (!Watch(EPOLL_CTL_DEL, pending.fd.get(), 0, &pending))
    return Refuse(pending, FRONT_COUNTER_ACCEPT_FAILED, "ACCEPT_FAILED", "epoll refused");
  Handoff handoff;
  handoff.fd = pending.fd.Release();
  handoff.tls = std::move(pending.tls);
  handoff.listener = static_cast<uint16_t>(pending.listener->index);
  handoff.framing = static_cast<uint8_t>(is_mqtt ? FRAMING_MQTT : FRAMING_LINE);
  handoff.opened_json = std::move(opened_json);
  handoff.websocket = std::move(pending.websocket);
  handoff.bytes = std::move(pending.bytes);
  handoff.unsent = std::move(pending.unsent);
  handoff.ticket = std::move(pending.ticket);
  if (is_owned ? InboxTable::Instance().Push(shard, handoff) : PushToAnyShard(handoff)) {
    Count(FRONT_COUNTER_HANDED_OVER);
    return Discard(pending);
  }
  Refuse(pending, FRONT_COUNTER_SHARD_DOWN, "SHARD_DOWN", "its shard is starting or has no room");
}

// The next one in turn that takes it.
bool Front::PushToAnyShard(Handoff& handoff) {
  for (uint32_t i = 0; i < options_.shards; i++) {
    const uint32_t shard = next_shard_;
    next_shard_ = (next_shard_ + 1) % options_.shards;
    if (InboxTable::Instance().Push(shard, handoff)) return true;
  }
  return false;
}

// Sends what the last step wrote; what the kernel does not take stays in `unsent`, in order. False: the connection is gone.
bool Front::Flush(Pending& pending) {
  std::vector<uint8_t>& fresh = outbox_.bytes();
  const bool was_blocked = !pending.unsent.empty();
  if (was_blocked) {
    pending.unsent.insert(pending.unsent.end(), fresh.begin(), fresh.end());
    fresh.clear();
  }
  std::vector<uint8_t>& queue = was_blocked ? pending.unsent : fresh;
  if (queue.empty()) return true;
  const ssize_t result = send(pending.fd.get(), queue.data(), queue.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  const bool is_gone = (result < 0 && errno != EAGAIN && errno != EINTR) || queue.size() > kUnsentMax;
  const auto sent = static_cast<ptrdiff_t>(result < 0 ? 0 : result);
  if (!is_gone) {
    if (was_blocked) {
      queue.erase(queue.begin(), queue.begin() + sent);
    } else {
      pending.unsent.assign(queue.begin() + sent, queue.end());
    }
  }
  fresh.clear();
  const bool is_blocked = !pending.unsent.empty();
  if (!is_gone && is_blocked == was_blocked) return true;
  if (!is_gone && Watch(EPOLL_CTL_MOD, pending.fd.get(), EPOLLIN | (is_blocked ? uint32_t{EPOLLOUT} : 0u), &pending)) return true;
  Count(FRONT_COUNTER_PEER_CLOSED);
  Discard(pending);
  return false;
}

// Best effort: without close_notify, or the Close frame of a WebSocket, the peer could not tell a refusal from a cut line.
void Front::SayGoodbye(Pending& pending) {
  if (pending.is_in_handshake || !pending.fd.is_open() || !pending.unsent.empty()) return;
  std::vector<uint8_t>& fresh = outbox_.bytes();
  if (pending.websocket != nullptr) AppendPlain(pending, CloseFrame(pending.websocket->close_code == 0 ? close_code::kProtocolError : pending.websocket->close_code));
  if (pending.tls != nullptr) pending.tls->Shutdown(outbox_);
  if (fresh.empty()) return;
  (void)!send(pending.fd.get(), fresh.data(), fresh.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  fresh.clear();
}

}  // namespace penstock

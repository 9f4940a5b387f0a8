// One TLS connection's record layer over bytes that its caller moves: no fd, no blocking, no WANT_WRITE.
// Thread safety: one thread at a time; may move between threads (front -> shard) together with its SSL state.
// Invariants: SSL_set_fd is never used; the read BIO sees exactly the window given to the running call; the write BIO appends to the
// running call's sink and never fails. ERR_clear_error() before every SSL_* call (node shares the thread's error queue).
// Ownership: owns its SSL; the SSL_CTX is reference-counted by OpenSSL, so a replaced context lives as long as its connections.
#pragma once
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace penstock {

// Takes ciphertext that is to be sent; called zero or more times during one TlsStream call, in order.
class CipherSink {
 public:
  virtual void Append(std::span<const uint8_t> bytes) = 0;

 protected:
  ~CipherSink() = default;
};

enum class TlsResult : uint8_t {
  kOk,         // made progress; call again if the input window is not empty
  kWantInput,  // everything given was used; needs bytes from the peer
  kClosed,     // close_notify received
  kFailed,     // protocol error; `Failure()` says which; an alert may be in the sink: send it, then close
};

class TlsStream {
 public:
  // Server side. Returns null when OpenSSL is out of memory.
  [[nodiscard]] static std::unique_ptr<TlsStream> Accept(SSL_CTX* context);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // Goes on with the handshake on `cipher`; advances `cipher` past what was used. kOk = handshake complete.
  [[nodiscard]] TlsResult Handshake(std::span<const uint8_t>& cipher, CipherSink& sink);
  // Decrypts into `plain` (as much as fits); `count` bytes were written whatever is returned: data that came before a close_notify or a
  // broken record come with kClosed or kFailed. Advances `cipher`. kOk: `plain` is full and there may be more: call again with room.
  // Nothing decrypted is lost between calls (it waits in the SSL: HasPending()). kWantInput: `cipher` is empty.
  [[nodiscard]] TlsResult Read(std::span<const uint8_t>& cipher, std::span<uint8_t> plain, size_t& count, CipherSink& sink);
  // Encrypts all of `plain` into the sink. False only when the connection failed.
  [[nodiscard]] bool Write(std::span<const uint8_t> plain, CipherSink& sink);
  // Appends close_notify.
  void Shutdown(CipherSink& sink);
  // Decrypted bytes inside the SSL that epoll cannot see. A record of which only a part has come is not pending: it waits for the peer
  // (SSL_has_pending would count it, and a loop on that would spin).
  [[nodiscard]] bool HasPending() const;
  // Short reason, e.g. "wrong version number", "certificate has expired"; for the log.
  [[nodiscard]] std::string Failure() const;
  // OpenSSL's error code of the failure (0 = none), for the counters.
  [[nodiscard]] unsigned long failure_code() const { return failure_; }
  [[nodiscard]] SSL* ssl() const { return ssl_; }

 private:
  explicit TlsStream(SSL* ssl) : ssl_(ssl) {}
  [[nodiscard]] TlsResult Outcome(int result);
  SSL* ssl_;
  unsigned long failure_ = 0;
};

}  // namespace penstock

#include "tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <climits>
#include <cstring>

namespace penstock {
namespace {

// What the BIO reads from and writes to during one TlsStream call on this thread. The BIO itself keeps nothing, so that a stream may
// move between threads.
struct Window {
  std::span<const uint8_t>* cipher;
  CipherSink* sink;
};
thread_local Window* t_window = nullptr;

class WindowScope {
 public:
  explicit WindowScope(Window window) : window_(window) {
    t_window = &window_;
    ERR_clear_error();
  }
  ~WindowScope() { t_window = nullptr; }
  WindowScope(const WindowScope&) = delete;
  WindowScope& operator=(const WindowScope&) = delete;

 private:
  Window window_;
};

int BioRead(BIO* bio, char* target, int size) {
  BIO_clear_retry_flags(bio);
  if (t_window == nullptr || t_window->cipher == nullptr || t_window->cipher->empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  std::span<const uint8_t>& cipher = *t_window->cipher;
  const size_t count = std::min(cipher.size(), static_cast<size_t>(size));
  std::memcpy(target, cipher.data(), count);
  cipher = cipher.subspan(count);
  return static_cast<int>(count);
}

// Never fails and never asks to be tried again: the sink keeps what cannot leave yet. This removes WANT_WRITE from the whole design.
int BioWrite(BIO* bio, const char* source, int size) {
  BIO_clear_retry_flags(bio);
  if (t_window == nullptr || t_window->sink == nullptr) return -1;
  t_window->sink->Append({reinterpret_cast<const uint8_t*>(source), static_cast<size_t>(size)});
  return size;
}

long BioControl(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;  // FLUSH must succeed, or the handshake stops
}

int BioCreate(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

BIO_METHOD* CreateMethod() {
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "penstock window");
  if (method == nullptr) return nullptr;
  BIO_meth_set_read(method, BioRead);
  BIO_meth_set_write(method, BioWrite);
  BIO_meth_set_ctrl(method, BioControl);
  BIO_meth_set_create(method, BioCreate);
  return method;
}

// Lives as long as the process: streams of any thread refer to it.
BIO_METHOD* WindowMethod() {
  static BIO_METHOD* const method = CreateMethod();
  return method;
}

}  // namespace

std::unique_ptr<TlsStream> TlsStream::Accept(SSL_CTX* context) {
  ERR_clear_error();
  BIO_METHOD* method = WindowMethod();
  if (method == nullptr) return nullptr;
  SSL* ssl = SSL_new(context);
  if (ssl == nullptr) return nullptr;
  BIO* bio = BIO_new(method);
  if (bio == nullptr) {
    SSL_free(ssl);
    return nullptr;
  }
  SSL_set_bio(ssl, bio, bio);  // the SSL owns it now
  SSL_set_accept_state(ssl);
  return std::unique_ptr<TlsStream>(new TlsStream(ssl));  // the constructor is private
}

TlsStream::~TlsStream() {
  ERR_clear_error();
  SSL_free(ssl_);
}

TlsResult TlsStream::Handshake(std::span<const uint8_t>& cipher, CipherSink& sink) {
  if (failure_ != 0) return TlsResult::kFailed;
  const WindowScope scope({&cipher, &sink});
  const int result = SSL_do_handshake(ssl_);
  return result == 1 ? TlsResult::kOk : Outcome(result);
}

TlsResult TlsStream::Read(std::span<const uint8_t>& cipher, std::span<uint8_t> plain, size_t& count, CipherSink& sink) {
  count = 0;
  if (failure_ != 0) return TlsResult::kFailed;
  const WindowScope scope({&cipher, &sink});
  while (count < plain.size()) {
    size_t read = 0;
    const int result = SSL_read_ex(ssl_, plain.data() + count, plain.size() - count, &read);
    if (result != 1) return Outcome(result);
    count += read;
    // Most reads hold one record. Another call could only say that it wants more, and would get a 16 KB buffer for that.
    if (cipher.empty() && SSL_has_pending(ssl_) == 0) return TlsResult::kWantInput;
  }
  return TlsResult::kOk;
}

bool TlsStream::Write(std::span<const uint8_t> plain, CipherSink& sink) {
  if (failure_ != 0) return false;
  std::span<const uint8_t> none;
  const WindowScope scope({&none, &sink});
  while (!plain.empty()) {
    // Writes at most one record's worth per call (SSL_MODE_ENABLE_PARTIAL_WRITE).
    size_t written = 0;
    const int result = SSL_write_ex(ssl_, plain.data(), plain.size(), &written);
    if (result != 1) {
      (void)Outcome(result);
      return false;
    }
    plain = plain.subspan(written);
  }
  return true;
}

void TlsStream::Shutdown(CipherSink& sink) {
  if (failure_ != 0 || SSL_in_init(ssl_) != 0) return;  // OpenSSL forbids SSL_shutdown after a fatal error or inside a handshake
  std::span<const uint8_t> none;
  const WindowScope scope({&none, &sink});
  (void)SSL_shutdown(ssl_);  // 0: close_notify was written and the peer's was not seen; we do not wait for it
}

bool TlsStream::HasPending() const { return SSL_pending(ssl_) > 0; }

// Says what a call that did not succeed means, and keeps the reason of a failure. REQUIRES: called at once after the SSL_* call.
TlsResult TlsStream::Outcome(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return TlsResult::kWantInput;
    case SSL_ERROR_ZERO_RETURN:
      return TlsResult::kClosed;
    default:
      failure_ = ERR_peek_error();
      if (failure_ == 0) failure_ = ERR_PACK(ERR_LIB_SSL, 0, ERR_R_INTERNAL_ERROR);
      ERR_clear_error();
      return TlsResult::kFailed;
  }
}

std::string TlsStream::Failure() const {
  if (failure_ == 0) return {};
  const int reason = ERR_GET_REASON(failure_);
  if (ERR_GET_LIB(failure_) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
    return X509_verify_cert_error_string(SSL_get_verify_result(ssl_));
  const char* words = ERR_reason_error_string(failure_);
  if (words == nullptr) return "TLS error " + std::to_string(reason);
  return words;
}

}  // namespace penstock

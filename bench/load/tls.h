// The client's TLS context: TLS 1.3 only, the target's certificate is checked, sessions can be resumed.
// Thread safety: one context per thread.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

namespace load {

struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using SslPointer = std::unique_ptr<SSL, SslDeleter>;
using SslSessionPointer = std::unique_ptr<SSL_SESSION, SslDeleter>;

class TlsClient {
 public:
  // Ends the program with a message when the certificates cannot be read.
  TlsClient(const std::string& ca_file, bool resume);
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // A client's end over this socket, which stays the caller's. Takes a stored session when there is one.
  SslPointer Open(int fd, const std::string& host);

 private:
  static int KeepSession(SSL* ssl, SSL_SESSION* session);

  std::unique_ptr<SSL_CTX, SslDeleter> context_;
  std::vector<SslSessionPointer> sessions_;
};

// The oldest error of OpenSSL's queue of this thread, in words; empties the queue.
std::string TlsError();

}  // namespace load

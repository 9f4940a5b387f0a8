#include "tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>

namespace load {
namespace {

// More than enough to resume from while connections open and close; older ones are dropped.
constexpr size_t kSessionsMax = 4096;

}  // namespace

TlsClient::TlsClient(const std::string& ca_file, bool resume) : context_(SSL_CTX_new(TLS_client_method())) {
  SSL_CTX* context = context_.get();
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context, 1);  // one read a record, not two
  if (SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr) != 1) {
    std::fprintf(stderr, "load: cannot read certificates from %s: %s\n", ca_file.c_str(), TlsError().c_str());
    std::exit(2);
  }
  if (resume) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, KeepSession);
    SSL_CTX_set_app_data(context, this);
  }
}

int TlsClient::KeepSession(SSL* ssl, SSL_SESSION* session) {
  auto* self = static_cast<TlsClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  if (self->sessions_.size() >= kSessionsMax) return 0;  // OpenSSL keeps the reference and frees it
  self->sessions_.emplace_back(session);
  return 1;
}

SslPointer TlsClient::Open(int fd, const std::string& host) {
  SslPointer ssl(SSL_new(context_.get()));
  SSL_set_fd(ssl.get(), fd);
  X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host.c_str());
  if (!sessions_.empty()) {
    SSL_set_session(ssl.get(), sessions_.back().get());
    sessions_.pop_back();  // a ticket is used once
  }
  SSL_set_connect_state(ssl.get());
  return ssl;
}

std::string TlsError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "the connection was closed";
  char text[256];
  ERR_error_string_n(code, text, sizeof text);
  return text;
}

}  // namespace load

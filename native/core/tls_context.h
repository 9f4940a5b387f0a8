// Secure contexts: certificates, keys and CAs as OpenSSL wants them, replaceable while handshakes run.
// Thread safety: TlsContextTable may be used from any thread (main replaces, the front takes). An SSL_CTX is not changed after it was
// built; a replaced one lives as long as connections hold it.
// Invariants:
//   (1) A context is replaced whole or not at all: Set either builds everything, or says what is wrong and changes nothing.
//   (2) Session tickets outlive a new certificate but not a new CA, CRL or client-certificate rule: resumption skips verification, so a
//       ticket must not carry an identity past the rules that it was verified by. Both the keys and the session id context change then.
//   (3) All shards share one set of ticket keys per context name: a client may resume wherever its client id lives.
#pragma once
#include <openssl/ssl.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace penstock {

struct SslContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslContextDeleter>;

enum class ClientCertificate : uint8_t { kOff, kOptional, kRequired };

// PEM text throughout; see SecureContextOptions in src/reactor/reactor.ts.
struct TlsContextOptions {
  struct Name {
    std::string name;  // "host.example.org" or "*.example.org"
    std::string certificate;
    std::string key;
  };
  std::string certificate;
  std::string key;
  std::string ca;
  std::string crl;
  ClientCertificate client_certificate = ClientCertificate::kOff;
  std::vector<std::string> alpn;
  std::vector<Name> names;
};

class TicketKeys;

class TlsContextTable {
 public:
  TlsContextTable();
  ~TlsContextTable();
  TlsContextTable(const TlsContextTable&) = delete;
  TlsContextTable& operator=(const TlsContextTable&) = delete;

  // Makes or replaces the context `name`. Returns its number, higher than that of every context before it; 0, with `error` naming the part
  // ("key: does not belong to the certificate"), leaves the old one in use.
  [[nodiscard]] uint32_t Set(const std::string& name, const TlsContextOptions& options, std::string& error);
  // Null when there is none of that name.
  [[nodiscard]] SslContext Get(const std::string& name) const;

 private:
  struct Entry {
    SslContext context;
    std::shared_ptr<TicketKeys> ticket_keys;
    std::string rules;  // CA, CRL and client-certificate rule that the ticket keys belong to
  };
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  uint32_t last_number_ = 0;
};

// Of the context that a connection was accepted with, which may have been replaced since; 0 for one that no table made.
[[nodiscard]] uint32_t ContextNumber(const SSL* ssl);

// Whether certificates that were accepted in a handshake would be now: by another CA or CRL than they were verified by then.
// Thread safety: one thread at a time.
class PeerTrust {
 public:
  // Null, with `error` naming the part, when CA or CRL cannot be used; an empty `crl` revokes nobody.
  [[nodiscard]] static std::unique_ptr<PeerTrust> Create(const std::string& ca, const std::string& crl, std::string& error);
  ~PeerTrust();
  PeerTrust(const PeerTrust&) = delete;
  PeerTrust& operator=(const PeerTrust&) = delete;

  // Why the peer's certificate is not accepted, in OpenSSL's words; empty when it is. Dates are not looked at: a clock that was set, or a
  // list that is over, must not end what goes on. After a resumption only the peer's own certificate is known, not those between it and
  // the CA: then these must be in `ca`.
  [[nodiscard]] std::string Fault(SSL* ssl) const;

 private:
  explicit PeerTrust(X509_STORE* store) : store_(store) {}
  X509_STORE* const store_;
};

// Empty when a program built with `built` (OPENSSL_VERSION_NUMBER) may run with `running` (OpenSSL_version_num()): same major and minor.
// Else a sentence that says what to do.
[[nodiscard]] std::string OpenSslMismatch(unsigned long built, unsigned long running);

}  // namespace penstock

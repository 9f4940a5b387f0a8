#include "tls_context.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstring>
#include <string_view>

#include "ticket_keys.h"

namespace penstock {
namespace {

struct Free {
  void operator()(BIO* value) const { BIO_free(value); }
  void operator()(X509* value) const { X509_free(value); }
  void operator()(X509_CRL* value) const { X509_CRL_free(value); }
  void operator()(EVP_PKEY* value) const { EVP_PKEY_free(value); }
  void operator()(X509_STORE* value) const { X509_STORE_free(value); }
  void operator()(X509_STORE_CTX* value) const { X509_STORE_CTX_free(value); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

// What the callbacks of one SSL_CTX need; owned by it (ex_data), so that a handshake under way outlives the replacement of its context.
struct ContextState {
  std::shared_ptr<TicketKeys> ticket_keys;
  std::vector<unsigned char> alpn;           // wire format: length byte, name, …
  std::map<std::string, SslContext> names;   // by lower-case name
  uint32_t number = 0;
};

void FreeState(void*, void* state, CRYPTO_EX_DATA*, int, long, void*) {
  const std::unique_ptr<ContextState> owned(static_cast<ContextState*>(state));
}

int StateIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, FreeState);
  return index;
}

ContextState* StateOf(SSL_CTX* context) { return static_cast<ContextState*>(SSL_CTX_get_ex_data(context, StateIndex())); }

// The reason of the newest OpenSSL error in words; clears the queue.
std::string TakeError() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* words = code == 0 ? nullptr : ERR_reason_error_string(code);
  return words == nullptr ? "not usable" : words;
}

Owned<BIO> Reader(const std::string& text) { return Owned<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// Without it OpenSSL would ask for a passphrase on the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

// All PEM blocks of one kind. `read` returns null at the end of the text or at an error; only the end is no error.
template <typename T, typename Read>
bool ReadAll(const std::string& text, const char* part, const char* kind, Read read, std::vector<Owned<T>>& found, std::string& error) {
  ERR_clear_error();
  const auto bio = Reader(text);
  while (bio != nullptr) {
    Owned<T> one(read(bio.get()));
    if (one == nullptr) break;
    found.push_back(std::move(one));
  }
  const unsigned long code = ERR_peek_last_error();
  const bool is_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  if (bio == nullptr || (code != 0 && !is_end)) {
    error = std::string(part) + ": " + TakeError();
    return false;
  }
  ERR_clear_error();
  if (!found.empty()) return true;
  error = std::string(part) + ": no PEM block of " + kind + " was found";
  return false;
}

bool ReadCertificates(const std::string& text, const char* part, std::vector<Owned<X509>>& found, std::string& error) {
  return ReadAll<X509>(text, part, "a certificate", [](BIO* bio) { return PEM_read_bio_X509(bio, nullptr, NoPassphrase, nullptr); }, found, error);
}

bool UseCertificate(SSL_CTX* context, const std::string& certificate, std::string& error) {
  std::vector<Owned<X509>> chain;
  if (!ReadCertificates(certificate, "certificate", chain, error)) return false;
  if (SSL_CTX_use_certificate(context, chain[0].get()) != 1) {
    error = "certificate: " + TakeError();
    return false;
  }
  for (size_t i = 1; i < chain.size(); i++) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) == 1) continue;
    error = "certificate: number " + std::to_string(i + 1) + " of the chain: " + TakeError();
    return false;
  }
  return true;
}

bool UseKey(SSL_CTX* context, const std::string& key, std::string& error) {
  ERR_clear_error();
  const auto bio = Reader(key);
  const Owned<EVP_PKEY> parsed(bio == nullptr ? nullptr : PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  if (parsed == nullptr) {
    const bool is_encrypted = key.find("ENCRYPTED") != std::string::npos;
    const std::string reason = TakeError();
    error = is_encrypted ? "key: is encrypted with a passphrase; store it without one (mode 600)" : "key: no usable private key in PEM (" + reason + ")";
    return false;
  }
  if (X509_check_private_key(SSL_CTX_get0_certificate(context), parsed.get()) != 1) {
    ERR_clear_error();
    error = "key: does not belong to the certificate";
    return false;
  }
  if (SSL_CTX_use_PrivateKey(context, parsed.get()) == 1) return true;
  error = "key: " + TakeError();
  return false;
}

// The names are sent to the client (of `context`, unless that is null), so that one with several certificates can choose.
bool UseCa(X509_STORE* store, SSL_CTX* context, const std::string& ca, std::string& error) {
  std::vector<Owned<X509>> certificates;
  if (!ReadCertificates(ca, "ca", certificates, error)) return false;
  for (const auto& certificate : certificates) {
    if (X509_STORE_add_cert(store, certificate.get()) == 1 && (context == nullptr || SSL_CTX_add_client_CA(context, certificate.get()) == 1)) continue;
    error = "ca: " + TakeError();
    return false;
  }
  return true;
}

bool UseCrl(X509_STORE* store, const std::string& crl, std::string& error) {
  std::vector<Owned<X509_CRL>> lists;
  const auto read = [](BIO* bio) { return PEM_read_bio_X509_CRL(bio, nullptr, NoPassphrase, nullptr); };
  if (!ReadAll<X509_CRL>(crl, "crl", "a revocation list", read, lists, error)) return false;
  for (const auto& list : lists) {
    if (X509_STORE_add_crl(store, list.get()) == 1) continue;
    error = "crl: " + TakeError();
    return false;
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  return true;
}

int ChooseAlpn(SSL* ssl, const unsigned char** chosen, unsigned char* chosen_size, const unsigned char* offered, unsigned int offered_size, void*) {
  const ContextState* state = StateOf(SSL_get_SSL_CTX(ssl));
  unsigned char* match = nullptr;
  if (state == nullptr || state->alpn.empty()) return SSL_TLSEXT_ERR_NOACK;
  const int result = SSL_select_next_proto(&match, chosen_size, state->alpn.data(), static_cast<unsigned int>(state->alpn.size()), offered, offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;  // served all the same
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

int ChooseByName(SSL* ssl, int*, void*) {
  const char* asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  ContextState* state = StateOf(SSL_get_SSL_CTX(ssl));
  if (asked == nullptr || state == nullptr || state->names.empty()) return SSL_TLSEXT_ERR_OK;
  const std::string name = LowerCase(asked);
  auto found = state->names.find(name);
  const size_t dot = name.find('.');
  if (found == state->names.end() && dot != std::string::npos && dot > 0) {
    std::string wildcard = name.substr(dot - 1);  // "host.example.org" -> "*.example.org"
    wildcard[0] = '*';
    found = state->names.find(wildcard);
  }
  if (found != state->names.end()) SSL_set_SSL_CTX(ssl, found->second.get());
  return SSL_TLSEXT_ERR_OK;  // an unknown name gets the first certificate
}

int TicketKey(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int is_sealing) {
  const ContextState* state = StateOf(SSL_get_SSL_CTX(ssl));
  if (state == nullptr) return 0;
  return is_sealing != 0 ? state->ticket_keys->Seal(name, iv, cipher, mac) : state->ticket_keys->Open(ssl, name, iv, cipher, mac);
}

// ChaCha20 is the cheaper cipher on ARM cores without the AES instructions (Raspberry Pi up to 4).
bool IsAesSlow() {
#if defined(__aarch64__)
  constexpr unsigned long kHwcapAes = 1ul << 3;
  return (getauxval(AT_HWCAP) & kHwcapAes) == 0;
#elif defined(__x86_64__)
  return false;
#else
  return true;
#endif
}

bool SetProtocol(SSL_CTX* context) {
  const bool is_aes_slow = IsAesSlow();
  const char* ciphers = is_aes_slow ? "ECDHE+CHACHA20:ECDHE+AESGCM:!PSK" : "ECDHE+AESGCM:ECDHE+CHACHA20:!PSK";
  const char* suites = is_aes_slow ? "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
                                   : "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // PARTIAL_WRITE and MOVING_WRITE_BUFFER: TlsStream::Write loops over parts. RELEASE_BUFFERS: an idle connection keeps no 16 KB buffers.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS |
                                SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // tickets only: no state on the server
  SSL_CTX_set_timeout(context, std::chrono::duration_cast<std::chrono::seconds>(TicketKeys::kLifetime).count());
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 && SSL_CTX_set_cipher_list(context, ciphers) == 1 &&
         SSL_CTX_set_ciphersuites(context, suites) == 1 && SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") == 1 &&
         SSL_CTX_set_num_tickets(context, 1) == 1 && SSL_CTX_set_tlsext_ticket_key_evp_cb(context, TicketKey) == 1;
}

// Everything that is the same for the first certificate and for those chosen by name.
SslContext BuildOne(const std::string& certificate, const std::string& key, const TlsContextOptions& options, const std::string& rules,
                    const std::shared_ptr<TicketKeys>& ticket_keys, std::string& error) {
  ERR_clear_error();
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr || !SetProtocol(context.get())) {
    error = "OpenSSL: " + TakeError();
    return nullptr;
  }
  if (!UseCertificate(context.get(), certificate, error) || !UseKey(context.get(), key, error)) return nullptr;
  if (options.client_certificate != ClientCertificate::kOff) {
    X509_STORE* store = SSL_CTX_get_cert_store(context.get());
    if (!UseCa(store, context.get(), options.ca, error) || (!options.crl.empty() && !UseCrl(store, options.crl, error))) return nullptr;
    const bool is_required = options.client_certificate == ClientCertificate::kRequired;
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | (is_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  static_assert(SHA256_DIGEST_LENGTH <= SSL_MAX_SID_CTX_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(rules.data()), rules.size(), digest.data());
  SSL_CTX_set_session_id_context(context.get(), digest.data(), static_cast<unsigned int>(digest.size()));
  SSL_CTX_set_alpn_select_cb(context.get(), ChooseAlpn, nullptr);
  auto state = std::make_unique<ContextState>();
  state->ticket_keys = ticket_keys;
  for (const std::string& protocol : options.alpn) {
    if (protocol.empty() || protocol.size() > 255) {
      error = "alpn: a protocol name has 1 to 255 bytes";
      return nullptr;
    }
    state->alpn.push_back(static_cast<unsigned char>(protocol.size()));
    state->alpn.insert(state->alpn.end(), protocol.begin(), protocol.end());
  }
  if (SSL_CTX_set_ex_data(context.get(), StateIndex(), state.get()) != 1) {
    error = "OpenSSL: " + TakeError();
    return nullptr;
  }
  (void)state.release();  // FreeState frees it with the SSL_CTX
  return context;
}

SslContext Build(const TlsContextOptions& options, const std::string& rules, const std::shared_ptr<TicketKeys>& ticket_keys, std::string& error) {
  if (options.client_certificate != ClientCertificate::kOff && options.ca.empty()) {
    error = "ca: client certificates are asked for, but there is no CA to verify them by";
    return nullptr;
  }
  if (!ticket_keys->is_usable()) {
    error = "OpenSSL: the random generator failed";
    return nullptr;
  }
  SslContext context = BuildOne(options.certificate, options.key, options, rules, ticket_keys, error);
  if (context == nullptr) return nullptr;
  for (const auto& named : options.names) {
    SslContext one = BuildOne(named.certificate, named.key, options, rules, ticket_keys, error);
    if (one == nullptr) {
      error = "names: " + named.name + ": " + error;
      return nullptr;
    }
    StateOf(context.get())->names.insert_or_assign(LowerCase(named.name), std::move(one));
  }
  if (!options.names.empty()) SSL_CTX_set_tlsext_servername_callback(context.get(), ChooseByName);
  return context;
}

// What the identity in a ticket was verified by. Equal text = tickets stay valid.
std::string RulesOf(const std::string& name, const TlsContextOptions& options) {
  std::string rules = name;
  rules.push_back('\0');
  rules.push_back(static_cast<char>('0' + static_cast<int>(options.client_certificate)));
  if (options.client_certificate == ClientCertificate::kOff) return rules;  // a CA that verifies nobody changes nothing
  rules += options.ca;
  rules.push_back('\0');
  rules += options.crl;
  return rules;
}

}  // namespace

TlsContextTable::TlsContextTable() = default;
TlsContextTable::~TlsContextTable() = default;

uint32_t TlsContextTable::Set(const std::string& name, const TlsContextOptions& options, std::string& error) {
  const std::string rules = RulesOf(name, options);
  std::shared_ptr<TicketKeys> ticket_keys;
  uint32_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = ++last_number_;
    const auto old = entries_.find(name);
    if (old != entries_.end() && old->second.rules == rules) ticket_keys = old->second.ticket_keys;
  }
  if (ticket_keys == nullptr) ticket_keys = std::make_shared<TicketKeys>();
  // Built outside the lock: it takes milliseconds, and the front takes the lock for each connection.
  SslContext context = Build(options, rules, ticket_keys, error);
  if (context == nullptr) return 0;
  ContextState* state = StateOf(context.get());
  state->number = number;
  for (const auto& [_, named] : state->names) StateOf(named.get())->number = number;
  const std::lock_guard lock(mutex_);
  entries_.insert_or_assign(name, Entry{std::move(context), std::move(ticket_keys), rules});
  return number;
}

SslContext TlsContextTable::Get(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  SSL_CTX_up_ref(found->second.context.get());
  return SslContext(found->second.context.get());
}

uint32_t ContextNumber(const SSL* ssl) {
  const ContextState* state = StateOf(SSL_get_SSL_CTX(ssl));
  return state == nullptr ? 0 : state->number;
}

std::unique_ptr<PeerTrust> PeerTrust::Create(const std::string& ca, const std::string& crl, std::string& error) {
  ERR_clear_error();
  Owned<X509_STORE> store(X509_STORE_new());
  if (store == nullptr) {
    error = "OpenSSL: " + TakeError();
    return nullptr;
  }
  if (!UseCa(store.get(), nullptr, ca, error) || (!crl.empty() && !UseCrl(store.get(), crl, error))) return nullptr;
  return std::unique_ptr<PeerTrust>(new PeerTrust(store.release()));
}

PeerTrust::~PeerTrust() { X509_STORE_free(store_); }

std::string PeerTrust::Fault(SSL* ssl) const {
  ERR_clear_error();
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr) return "the certificate is not known any more";
  const Owned<X509_STORE_CTX> verification(X509_STORE_CTX_new());
  // As the handshake verifies it: for a TLS client.
  if (verification == nullptr || X509_STORE_CTX_init(verification.get(), store_, certificate, SSL_get_peer_cert_chain(ssl)) != 1 ||
      X509_STORE_CTX_set_default(verification.get(), "ssl_client") != 1) {
    return TakeError();
  }
  X509_STORE_CTX_set_flags(verification.get(), X509_V_FLAG_NO_CHECK_TIME);
  const bool is_good = X509_verify_cert(verification.get()) == 1;
  const int reason = X509_STORE_CTX_get_error(verification.get());
  ERR_clear_error();
  return is_good ? std::string() : X509_verify_cert_error_string(reason);
}

std::string OpenSslMismatch(unsigned long built, unsigned long running) {
  const unsigned long major_and_minor = 0xfff00000ul;
  if ((built & major_and_minor) == (running & major_and_minor)) return {};
  const auto text = [](unsigned long version) { return std::to_string(version >> 28) + "." + std::to_string((version >> 20) & 0xff); };
  return "it was built for OpenSSL " + text(built) + ", and this Node.js has OpenSSL " + text(running) + ": build it again with this Node.js";
}

}  // namespace penstock

#include "ticket_keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstring>

namespace penstock {

TicketKeys::TicketKeys() : current_(MakeKey()) {}

TicketKeys::~TicketKeys() {
  OPENSSL_cleanse(&current_, sizeof current_);
  OPENSSL_cleanse(&previous_, sizeof previous_);
}

bool TicketKeys::is_usable() {
  const std::lock_guard lock(mutex_);
  return current_.is_set;
}

TicketKeys::Key TicketKeys::MakeKey() {
  Key key;
  key.made_at = std::chrono::steady_clock::now();
  key.is_set = RAND_bytes(key.name.data(), static_cast<int>(key.name.size())) == 1 &&
               RAND_priv_bytes(key.cipher.data(), static_cast<int>(key.cipher.size())) == 1 &&
               RAND_priv_bytes(key.mac.data(), static_cast<int>(key.mac.size())) == 1;
  return key;
}

void TicketKeys::RotateLocked() {
  previous_ = current_;
  current_ = MakeKey();
}

void TicketKeys::Rotate() {
  const std::lock_guard lock(mutex_);
  RotateLocked();
}

bool TicketKeys::Prepare(Key& key, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, bool is_sealing) {
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac.data(), key.mac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end(),
  };
  if (EVP_MAC_CTX_set_params(mac, parameters) != 1) return false;
  return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.cipher.data(), iv, is_sealing ? 1 : 0) == 1;
}

int TicketKeys::Seal(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) {
  const std::lock_guard lock(mutex_);
  if (std::chrono::steady_clock::now() - current_.made_at > kLifetime) RotateLocked();
  if (!current_.is_set) return 0;  // no ticket is sent; the handshake goes on
  if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
  std::memcpy(name, current_.name.data(), current_.name.size());
  return Prepare(current_, iv, cipher, mac, true) ? 1 : -1;
}

int TicketKeys::Open(SSL* ssl, const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) {
  const std::lock_guard lock(mutex_);
  const auto has_name = [name](const Key& key) { return key.is_set && std::memcmp(key.name.data(), name, key.name.size()) == 0; };
  Key* key = has_name(current_) ? &current_ : has_name(previous_) ? &previous_ : nullptr;
  if (key == nullptr || std::chrono::steady_clock::now() - key->made_at > 2 * kLifetime) return 0;  // a full handshake follows
  if (!Prepare(*key, iv, cipher, mac, false)) return -1;
  // 2 asks for a new ticket: under TLS 1.3 OpenSSL sends none otherwise, and a client that uses each ticket once (as it should, RFC
  // 8446 §C.4) would resume only every other time.
  return SSL_version(ssl) >= TLS1_3_VERSION || key == &previous_ ? 2 : 1;
}

}  // namespace penstock

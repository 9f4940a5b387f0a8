// Keys of session tickets (RFC 5077 §4, RFC 8446 §4.6.1): our own instead of OpenSSL's, so that they survive a new certificate and change
// by age. The newest key seals; the one before still opens, for as long as a ticket sealed with it may be valid.
// Thread safety: all functions may be called from any thread.
#pragma once
#include <openssl/ssl.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace penstock {

class TicketKeys {
 public:
  // A ticket may be used this long; a key seals this long and opens twice as long.
  static constexpr std::chrono::hours kLifetime{12};

  TicketKeys();
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // False when the random generator failed at construction or at the last rotation.
  [[nodiscard]] bool is_usable();
  void Rotate();

  // The contract of SSL_CTX_set_tlsext_ticket_key_evp_cb.
  int Seal(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac);
  int Open(SSL* ssl, const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac);

 private:
  struct Key {
    std::array<unsigned char, 16> name{};
    std::array<unsigned char, 32> cipher{};
    std::array<unsigned char, 32> mac{};
    std::chrono::steady_clock::time_point made_at{};
    bool is_set = false;
  };
  static Key MakeKey();
  static bool Prepare(Key& key, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, bool is_sealing);
  void RotateLocked();

  std::mutex mutex_;
  Key current_;
  Key previous_;
};

}  // namespace penstock

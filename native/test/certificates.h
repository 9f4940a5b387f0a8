// Certificates for the native tests, made in memory (ECDSA P-256).
#pragma once
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "expect.h"

namespace penstock::test {

struct Free {
  void operator()(BIO* value) const { BIO_free(value); }
  void operator()(X509* value) const { X509_free(value); }
  void operator()(EVP_PKEY* value) const { EVP_PKEY_free(value); }
};

inline std::string Text(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<size_t>(size)};
}

class Certificate {
 public:
  // Signed by `issuer`, or by itself when that is null (then it is a CA).
  Certificate(const std::string& name, const Certificate* issuer) : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    X509* one = certificate_.get();
    X509_set_version(one, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(one), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(one), -3600);
    X509_gmtime_adj(X509_getm_notAfter(one), 24 * 3600);
    X509_set_pubkey(one, key_.get());
    X509_NAME* subject = X509_get_subject_name(one);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(one, issuer == nullptr ? subject : X509_get_subject_name(issuer->certificate_.get()));
    if (issuer == nullptr) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE");
      X509_add_ext(one, extension, -1);
      X509_EXTENSION_free(extension);
    }
    EXPECT(X509_sign(one, issuer == nullptr ? key_.get() : issuer->key_.get(), EVP_sha256()) > 0);
  }

  [[nodiscard]] std::string certificate_pem() const {
    const std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate_.get());
    return Text(bio.get());
  }
  [[nodiscard]] std::string key_pem() const {
    const std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return Text(bio.get());
  }
  [[nodiscard]] X509* x509() const { return certificate_.get(); }
  [[nodiscard]] EVP_PKEY* key() const { return key_.get(); }

 private:
  static inline long serial_ = 0;
  std::unique_ptr<EVP_PKEY, Free> key_;
  std::unique_ptr<X509, Free> certificate_;
};

}  // namespace penstock::test

#include "opened.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "tls_context.h"
#include "unix_socket.h"
#include "utf8.h"

namespace penstock {
namespace {

struct Free {
  void operator()(BIO* value) const { BIO_free(value); }
  void operator()(GENERAL_NAMES* value) const { GENERAL_NAMES_free(value); }
  void operator()(unsigned char* value) const { OPENSSL_free(value); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

void AppendField(std::string& json, std::string_view name, std::string_view value) {
  AppendJsonString(json, name);
  json += ':';
  AppendJsonString(json, value);
}

std::string_view AsView(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))};
}

std::string CommonName(X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return {};
  unsigned char* bytes = nullptr;
  const int size = ASN1_STRING_to_UTF8(&bytes, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  if (size < 0) return {};
  const Owned<unsigned char> owned(bytes);
  return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)};
}

std::string Subject(X509* certificate) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr) return {};
  // RFC 4514, with UTF-8 left as it is.
  if (X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0) return {};
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return size > 0 ? std::string(bytes, static_cast<size_t>(size)) : std::string();
}

std::string Fingerprint(X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  std::string text;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return text;
  for (unsigned int i = 0; i < size; i++) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 0xf];
  }
  return text;
}

std::string AddressText(const ASN1_STRING* octets) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(octets) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(octets) != 16) return {};
  const char* written = inet_ntop(family, ASN1_STRING_get0_data(octets), text.data(), text.size());
  return written == nullptr ? std::string() : std::string(written);
}

// "DNS:a" and so on; empty for the kinds that nobody authorises by.
std::string NameText(const GENERAL_NAME* name) {
  int kind = 0;
  const void* value = GENERAL_NAME_get0_value(name, &kind);
  const auto* text = static_cast<const ASN1_STRING*>(value);
  switch (kind) {
    case GEN_DNS: return "DNS:" + std::string(AsView(text));
    case GEN_URI: return "URI:" + std::string(AsView(text));
    case GEN_EMAIL: return "email:" + std::string(AsView(text));
    case GEN_IPADD: return "IP:" + AddressText(text);
    default: return {};
  }
}

void AppendCertificate(std::string& json, X509* certificate) {
  json += "\"certificate\":{";
  AppendField(json, "commonName", CommonName(certificate));
  json += ',';
  AppendField(json, "subject", Subject(certificate));
  json += ",\"alternativeNames\":[";
  const Owned<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  bool is_first = true;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); i++) {
    const std::string text = NameText(sk_GENERAL_NAME_value(names.get(), i));
    if (text.empty()) continue;
    if (!is_first) json += ',';
    is_first = false;
    AppendJsonString(json, text);
  }
  json += "],";
  AppendField(json, "fingerprint", Fingerprint(certificate));
  json += '}';
}

void AppendTls(std::string& json, SSL* ssl) {
  ERR_clear_error();
  json += ",\"tls\":{";
  AppendField(json, "version", SSL_get_version(ssl));
  json += ',';
  AppendField(json, "cipher", SSL_get_cipher_name(ssl));
  const char* server_name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (server_name != nullptr) {
    json += ',';
    AppendField(json, "serverName", server_name);
  }
  json += ",\"context\":" + std::to_string(ContextNumber(ssl));
  json += SSL_session_reused(ssl) == 1 ? ",\"isResumed\":true" : ",\"isResumed\":false";
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate != nullptr) {
    json += ',';
    AppendCertificate(json, certificate);
  }
  json += '}';
  ERR_clear_error();
}

}  // namespace

void AppendJsonString(std::string& json, std::string_view text) {
  json += '"';
  while (!text.empty()) {
    const size_t length = Utf8SequenceSize(text);
    const auto byte = static_cast<uint8_t>(text[0]);
    if (length == 0) {
      json += "\\ufffd";
    } else if (byte < 0x20) {
      json += "\\u00";
      json += "0123456789abcdef"[byte >> 4];
      json += "0123456789abcdef"[byte & 0xf];
    } else {
      if (byte == '"' || byte == '\\') json += '\\';
      json += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  json += '"';
}

PeerAddress ReadAddress(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  PeerAddress result;
  in_addr ipv4{};
  bool is_ipv4 = address.ss_family == AF_INET;
  in6_addr ipv6{};
  if (is_ipv4) {
    sockaddr_in whole{};
    std::memcpy(&whole, &address, sizeof whole);
    ipv4 = whole.sin_addr;
    result.port = ntohs(whole.sin_port);
  } else if (address.ss_family == AF_INET6) {
    sockaddr_in6 whole{};
    std::memcpy(&whole, &address, sizeof whole);
    ipv6 = whole.sin6_addr;
    result.port = ntohs(whole.sin6_port);
    is_ipv4 = IN6_IS_ADDR_V4MAPPED(&ipv6);
    if (is_ipv4) std::memcpy(&ipv4, &ipv6.s6_addr[12], sizeof ipv4);
  } else if (address.ss_family == AF_UNIX) {
    const ucred credentials = UnixPeerCredentials(address);
    result.text = "unix:pid=" + std::to_string(credentials.pid) + ",uid=" + std::to_string(credentials.uid);
    result.is_loopback = true;
    return result;
  } else {
    return result;
  }
  result.is_loopback = is_ipv4 ? (ntohl(ipv4.s_addr) >> 24) == 127 : IN6_IS_ADDR_LOOPBACK(&ipv6) != 0;
  const char* written = is_ipv4 ? inet_ntop(AF_INET, &ipv4, text.data(), text.size()) : inet_ntop(AF_INET6, &ipv6, text.data(), text.size());
  if (written != nullptr) result.text = written;
  return result;
}

std::string OpenedJson(const Opened& opened) {
  std::string json = "{\"listener\":" + std::to_string(opened.listener) + ',';
  AppendField(json, "peer", opened.peer.text);
  json += ",\"peerPort\":" + std::to_string(opened.peer.port);
  json += opened.is_loopback ? ",\"isLoopback\":true" : ",\"isLoopback\":false";
  if (opened.ssl != nullptr) AppendTls(json, opened.ssl);
  json += '}';
  return json;
}

}  // namespace penstock

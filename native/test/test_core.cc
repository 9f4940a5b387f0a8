// Unit tests of the parts of native/core that have no thread: CRC, client-id reader, directory lock, ticket keys, contexts, census,
// JSON of opened connections, version guard.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "census.h"
#include "certificates.h"
#include "client_id.h"
#include "connect_frames.h"
#include "crc32c.h"
#include "expect.h"
#include "lock.h"
#include "opened.h"
#include "ticket_keys.h"
#include "tls_context.h"

namespace penstock::test {
namespace {

std::span<const uint8_t> Bytes(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }
std::string_view View(std::span<const uint8_t> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// RFC 3720 appendix B.4 and the check value of the CRC catalogue; then the instruction against the tables at every length and offset.
void CrcAgreesWithKnownVectors() {
  EXPECT(Crc32c({}) == 0);
  EXPECT(Crc32c(Bytes("123456789")) == 0xe3069283);
  std::vector<uint8_t> bytes(32, 0);
  EXPECT(Crc32c(bytes) == 0x8a9136aa);
  bytes.assign(32, 0xff);
  EXPECT(Crc32c(bytes) == 0x62a8ab43);
  for (uint8_t i = 0; i < 32; i++) bytes[i] = i;
  EXPECT(Crc32c(bytes) == 0x46dd794e);
  for (uint8_t i = 0; i < 32; i++) bytes[i] = static_cast<uint8_t>(31 - i);
  EXPECT(Crc32c(bytes) == 0x113fdb5c);
  const uint32_t seed = std::random_device{}();
  std::printf("crc seed %u, %s\n", seed, Crc32cImplementation());
  std::fflush(stdout);
  std::mt19937 random(seed);
  bytes.resize(4096);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (size_t at = 0; at < 9; at++)
    for (size_t size = 0; size < 100; size++) {
      const auto part = std::span<const uint8_t>(bytes).subspan(at, size);
      EXPECT(Crc32c(part) == Crc32cByTable(part));
    }
  EXPECT(Crc32c(bytes) == Crc32cByTable(bytes));
}

struct ConnectVector {
  std::string_view protocol;
  uint8_t level;
  std::string_view client_id;
  std::string_view properties;
  ConnectKind kind;
};

void ClientIdIsReadFromEveryVersionAndRefusedWhenCut() {
  const std::string long_id(300, 'x');
  const std::vector<ConnectVector> vectors = {
      {"MQTT", 4, "device-1", {}, ConnectKind::kKnown},
      {"MQTT", 4, "", {}, ConnectKind::kKnown},
      {"MQTT", 4, long_id, {}, ConnectKind::kKnown},
      {"MQIsdp", 3, "old", {}, ConnectKind::kKnown},
      {"MQTT", 5, "five", {}, ConnectKind::kKnown},
      {"MQTT", 5, "five", std::string_view("\x11\0\0\0\x3c", 5), ConnectKind::kKnown},
      {"MQTT", 0x84, "bridge", {}, ConnectKind::kKnown},
      {"MQTT", 6, "future", {}, ConnectKind::kUnknownVersion},
      {"MQIsdp", 4, "mixed", {}, ConnectKind::kUnknownVersion},
      {"AMQP", 4, "other", {}, ConnectKind::kUnknownVersion},
  };
  for (const ConnectVector& vector : vectors) {
    const std::vector<uint8_t> frame = ConnectFrame(vector.protocol, vector.level, vector.client_id, vector.properties);
    const FirstFrame whole = ReadMqttFirstFrame(frame, 16'384);
    EXPECT(whole.state == FirstFrameState::kWhole && whole.size == frame.size());
    const ConnectHead head = ReadConnectHead(frame);
    EXPECT(head.kind == vector.kind);
    if (vector.kind == ConnectKind::kKnown) EXPECT(View(head.client_id) == vector.client_id);
    for (size_t size = 0; size < frame.size(); size++) {  // split at every byte
      EXPECT(ReadMqttFirstFrame(std::span(frame).first(size), 16'384).state == FirstFrameState::kNeedMore);
      EXPECT(ReadConnectHead(std::span(frame).first(size)).kind == ConnectKind::kMalformed);
    }
    for (size_t size = 2; size < frame.size() && frame.size() < 128; size++) {  // cut at every byte, with a header that agrees
      std::vector<uint8_t> cut(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(size));
      cut[1] = static_cast<uint8_t>(size - 2);
      const bool is_past_level = size > 2 + 2 + vector.protocol.size();
      const ConnectKind expected = vector.kind == ConnectKind::kUnknownVersion && is_past_level ? ConnectKind::kUnknownVersion : ConnectKind::kMalformed;
      EXPECT(ReadConnectHead(cut).kind == expected);
    }
  }
}

void FirstFramesThatAreNoConnectAreRefusedInPlainWords() {
  const auto detail = [](std::string_view text) {
    const FirstFrame frame = ReadMqttFirstFrame(Bytes(text), 1000);
    return std::string(frame.state == FirstFrameState::kRefused ? frame.detail : "");
  };
  EXPECT(detail("G") == "looks like HTTP");
  EXPECT(detail("GET / HTTP/1.1\r\n") == "looks like HTTP");
  EXPECT(detail("\x16\x03\x01") == "looks like TLS: use the TLS port");
  EXPECT(detail("\x30\x02") == "the first packet is not a CONNECT");
  EXPECT(detail("\x11\x0c") == "the first packet is not a CONNECT");  // reserved flags [MQTT-2.2.2-1]
  EXPECT(detail("\x10\xff\xff\xff\xff\x01") == "the remaining length has more than four bytes");
  EXPECT(detail("\x10\xff\xff\xff\x7f") == "the CONNECT is too large");
  EXPECT(detail("\x10\xe6\x07") == "the CONNECT is too large");  // 3 + 998 = 1001
  EXPECT(detail("\x10\xe5\x07").empty());
  EXPECT(std::string_view(WhyNotTls(Bytes("\x10\x10"))) == "looks like MQTT without TLS: use TLS, or the plain port");
  EXPECT(std::string_view(WhyNotTls(Bytes("POST"))) == "looks like HTTP without TLS");
  EXPECT(std::string_view(WhyNotTls(Bytes("\x80\x2e"))) == "no TLS");
  EXPECT(WhyNotTls(Bytes("\x16\x03")) == nullptr);
  EXPECT(ReadLineFirstFrame(Bytes("{\"a\":1}"), 100).state == FirstFrameState::kNeedMore);
  EXPECT(ReadLineFirstFrame(Bytes("{\"a\":1}\n{"), 100).size == 8);
  EXPECT(ReadLineFirstFrame(Bytes("{\"a\":1}"), 7).state == FirstFrameState::kWhole);
}

void LockIsHeldAgainstOtherProcessesOnly() {
  std::string path = "/tmp/penstock-lock-XXXXXX";
  const int fd = mkstemp(path.data());
  EXPECT(fd >= 0);
  close(fd);
  DirectoryLock lock;
  std::string error;
  EXPECT(lock.Take(path, error) == DirectoryLock::Result::kTaken);
  EXPECT(lock.Take(path, error) == DirectoryLock::Result::kHeldElsewhere);
  close(open(path.c_str(), O_RDONLY));  // would drop a POSIX lock
  const auto taken_by_child = [&path] {
    const pid_t child = fork();
    if (child == 0) {
      DirectoryLock theirs;
      std::string ignored;
      _exit(theirs.Take(path, ignored) == DirectoryLock::Result::kTaken ? 1 : 0);
    }
    int status = 0;
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status) == 1;
  };
  EXPECT(!taken_by_child());
  lock.Release();
  EXPECT(taken_by_child());
  EXPECT(lock.Take(path + "/nowhere", error) == DirectoryLock::Result::kFailed && error.starts_with("ENOTDIR: "));
  unlink(path.c_str());
}

struct FreeCrypto {
  void operator()(EVP_CIPHER_CTX* value) const { EVP_CIPHER_CTX_free(value); }
  void operator()(EVP_MAC_CTX* value) const { EVP_MAC_CTX_free(value); }
  void operator()(EVP_MAC* value) const { EVP_MAC_free(value); }
  void operator()(SSL* value) const { SSL_free(value); }
};

void TicketKeyBeforeTheNewestStillOpensAndTheOneBeforeThatNot() {
  const std::unique_ptr<EVP_MAC, FreeCrypto> method(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  const std::unique_ptr<EVP_MAC_CTX, FreeCrypto> mac(EVP_MAC_CTX_new(method.get()));
  const std::unique_ptr<EVP_CIPHER_CTX, FreeCrypto> cipher(EVP_CIPHER_CTX_new());
  const SslContext context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  const std::unique_ptr<SSL, FreeCrypto> ssl(SSL_new(context.get()));
  TicketKeys keys;
  std::array<unsigned char, 16> name{};
  std::array<unsigned char, EVP_MAX_IV_LENGTH> iv{};
  EXPECT(keys.is_usable());
  EXPECT(keys.Seal(name.data(), iv.data(), cipher.get(), mac.get()) == 1);
  EXPECT(keys.Open(ssl.get(), name.data(), iv.data(), cipher.get(), mac.get()) >= 1);
  keys.Rotate();
  EXPECT(keys.Open(ssl.get(), name.data(), iv.data(), cipher.get(), mac.get()) == 2);  // good, and to be renewed
  keys.Rotate();
  EXPECT(keys.Open(ssl.get(), name.data(), iv.data(), cipher.get(), mac.get()) == 0);
  name.fill(0);
  EXPECT(keys.Open(ssl.get(), name.data(), iv.data(), cipher.get(), mac.get()) == 0);
}

void BadContextNamesThePartAndKeepsTheOldOne() {
  const Certificate ca("ca", nullptr);
  const Certificate server("server", &ca);
  const Certificate other("other", &ca);
  TlsContextTable table;
  std::string error;
  TlsContextOptions good;
  good.certificate = server.certificate_pem();
  good.key = server.key_pem();
  EXPECT(table.Get("a") == nullptr);
  const uint32_t first = table.Set("a", good, error);
  EXPECT(first > 0);
  const SslContext before = table.Get("a");
  const auto refuses = [&](auto&& change, std::string_view start) {
    TlsContextOptions bad = good;
    change(bad);
    error.clear();
    EXPECT(!table.Set("a", bad, error));
    if (!error.starts_with(start)) std::fprintf(stderr, "got: %s\n", error.c_str());
    EXPECT(error.starts_with(start));
    EXPECT(table.Get("a").get() == before.get());
  };
  refuses([](auto& bad) { bad.certificate = "nothing"; }, "certificate: no PEM block of a certificate was found");
  refuses([](auto& bad) { bad.certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"; }, "certificate: ");
  refuses([](auto& bad) { bad.key = ""; }, "key: no usable private key in PEM");
  refuses([&](auto& bad) { bad.key = other.key_pem(); }, "key: does not belong to the certificate");
  refuses([](auto& bad) { bad.key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"; }, "key: is encrypted");
  refuses([](auto& bad) { bad.client_certificate = ClientCertificate::kRequired; }, "ca: client certificates are asked for");
  refuses([](auto& bad) { bad.client_certificate = ClientCertificate::kOptional; bad.ca = "x"; }, "ca: no PEM block");
  refuses([&](auto& bad) { bad.client_certificate = ClientCertificate::kOptional; bad.ca = ca.certificate_pem(); bad.crl = "x"; }, "crl: no PEM block");
  refuses([&](auto& bad) { bad.names.push_back({"b.example", other.certificate_pem(), server.key_pem()}); }, "names: b.example: key: does not belong");
  refuses([](auto& bad) { bad.alpn.push_back(""); }, "alpn: ");
  const uint32_t other_name = table.Set("b", good, error);
  EXPECT(other_name > first);
  EXPECT(table.Set("a", good, error) > other_name);
  EXPECT(table.Get("a").get() != before.get());
}

sockaddr_storage Address(const char* text) {
  sockaddr_storage address{};
  in_addr ipv4{};
  if (inet_pton(AF_INET, text, &ipv4) == 1) {
    auto* whole = reinterpret_cast<sockaddr_in*>(&address);
    whole->sin_family = AF_INET;
    whole->sin_addr = ipv4;
  } else {
    auto* whole = reinterpret_cast<sockaddr_in6*>(&address);
    whole->sin6_family = AF_INET6;
    EXPECT(inet_pton(AF_INET6, text, &whole->sin6_addr) == 1);
  }
  return address;
}

void CensusCountsByAddressAndGivesPlacesBack() {
  EXPECT(AddressKey(Address("192.0.2.1")) == AddressKey(Address("::ffff:192.0.2.1")));
  EXPECT(AddressKey(Address("192.0.2.1")) != AddressKey(Address("192.0.2.2")));
  EXPECT(AddressKey(Address("2001:db8::1")) == AddressKey(Address("2001:db8::2:3")));
  EXPECT(AddressKey(Address("2001:db8::1")) != AddressKey(Address("2001:db8:0:1::1")));
  EXPECT(AddressKey(Address("::1")) != 0);
  Census& census = Census::Instance();
  const uint64_t key = AddressKey(Address("192.0.2.1"));
  EXPECT(census.Enter(key, 3, 2) == CensusRefusal::kNone);
  CensusTicket first(key);
  EXPECT(census.Enter(key, 3, 2) == CensusRefusal::kNone);
  {
    CensusTicket second(key);
    EXPECT(census.Enter(key, 3, 2) == CensusRefusal::kAddressLimit);
    EXPECT(census.Enter(key + 1, 2, 2) == CensusRefusal::kConnectionLimit);
    CensusTicket moved(std::move(second));
    EXPECT(census.ConnectionCount() == 2);
  }
  EXPECT(census.ConnectionCount() == 1);
  CensusTicket target = std::move(first);
  target.Release();
  target.Release();
  EXPECT(census.ConnectionCount() == 0);
}

void JsonEscapesWhatCertificatesMayHold() {
  const auto json = [](std::string_view text) {
    std::string result;
    AppendJsonString(result, text);
    return result;
  };
  EXPECT(json("a\"b\\c") == "\"a\\\"b\\\\c\"");
  EXPECT(json(std::string_view("\0\n\x1f\x7f", 4)) == "\"\\u0000\\u000a\\u001f\x7f\"");
  EXPECT(json("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
  EXPECT(json("\xff") == "\"\\ufffd\"");
  EXPECT(json("\xc0\x80") == "\"\\ufffd\\ufffd\"");          // overlong
  EXPECT(json("\xed\xa0\x80") == "\"\\ufffd\\ufffd\\ufffd\"");  // surrogate
  EXPECT(json("\xe2\x82") == "\"\\ufffd\\ufffd\"");          // cut
  EXPECT(json("\xf4\x90\x80\x80") == "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
  EXPECT(ReadAddress(Address("::ffff:127.0.0.1")).text == "127.0.0.1");
  EXPECT(ReadAddress(Address("::ffff:127.0.0.1")).is_loopback && ReadAddress(Address("::1")).is_loopback);
  EXPECT(!ReadAddress(Address("2001:db8::1")).is_loopback);
}

void VersionGuardComparesMajorAndMinor() {
  EXPECT(OpenSslMismatch(0x300000f0, 0x30000130).empty());
  EXPECT(OpenSslMismatch(0x300000f0, 0x30100000) == "it was built for OpenSSL 3.0, and this Node.js has OpenSSL 3.1: build it again with this Node.js");
  EXPECT(!OpenSslMismatch(0x300000f0, 0x1010117f).empty());
}

}  // namespace
}  // namespace penstock::test

int main() {
  using namespace penstock::test;
  CrcAgreesWithKnownVectors();
  ClientIdIsReadFromEveryVersionAndRefusedWhenCut();
  FirstFramesThatAreNoConnectAreRefusedInPlainWords();
  LockIsHeldAgainstOtherProcessesOnly();
  TicketKeyBeforeTheNewestStillOpensAndTheOneBeforeThatNot();
  BadContextNamesThePartAndKeepsTheOldOne();
  CensusCountsByAddressAndGivesPlacesBack();
  JsonEscapesWhatCertificatesMayHold();
  VersionGuardComparesMajorAndMinor();
}

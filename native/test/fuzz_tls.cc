// Fuzzes TlsStream's handling of its window: arbitrary ciphertext, cut into pieces, before and inside the handshake. OpenSSL itself is
// fuzzed by its authors; here the question is whether our loops end and account for every byte.
#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "certificates.h"
#include "fuzz.h"
#include "tls_context.h"
#include "tls_stream.h"

namespace {

using namespace penstock;

struct Sink final : CipherSink {
  std::vector<uint8_t> bytes;
  void Append(std::span<const uint8_t> more) override { bytes.insert(bytes.end(), more.begin(), more.end()); }
};

struct FreeClient {
  void operator()(SSL_CTX* value) const { SSL_CTX_free(value); }
  void operator()(SSL* value) const { SSL_free(value); }
};

SSL_CTX* ServerContext() {
  static const SslContext context = [] {
    const test::Certificate certificate("fuzz", nullptr);
    TlsContextTable table;
    TlsContextOptions options;
    std::string error;
    options.certificate = certificate.certificate_pem();
    options.key = certificate.key_pem();
    options.alpn = {"mqtt"};
    FUZZ_EXPECT(table.Set("fuzz", options, error));
    return table.Get("fuzz");
  }();
  return context.get();
}

// A ClientHello as a real client sends it.
std::vector<uint8_t> Hello(int version, const char* name) {
  const std::unique_ptr<SSL_CTX, FreeClient> context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_max_proto_version(context.get(), version);
  const std::unique_ptr<SSL, FreeClient> ssl(SSL_new(context.get()));
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
  if (name != nullptr) SSL_set_tlsext_host_name(ssl.get(), name);
  SSL_connect(ssl.get());
  const std::string text = test::Text(out);
  return {text.begin(), text.end()};
}

}  // namespace

// The first byte says how large the pieces are.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 2) return 0;
  const size_t piece = size_t{bytes[0]} + 1;
  std::span<const uint8_t> rest(bytes + 1, size - 1);
  const std::unique_ptr<TlsStream> stream = TlsStream::Accept(ServerContext());
  FUZZ_EXPECT(stream != nullptr);
  Sink sink;
  bool is_done = false;
  while (!rest.empty()) {
    std::span<const uint8_t> cipher = rest.first(std::min(piece, rest.size()));
    rest = rest.subspan(cipher.size());
    TlsResult result = TlsResult::kOk;
    if (!is_done) {
      result = stream->Handshake(cipher, sink);
      is_done = result == TlsResult::kOk;
    }
    while (is_done && result == TlsResult::kOk) {
      std::vector<uint8_t> plain(100);
      size_t count = 0;
      result = stream->Read(cipher, plain, count, sink);
      FUZZ_EXPECT(count <= plain.size());
    }
    if (result == TlsResult::kWantInput) FUZZ_EXPECT(cipher.empty() && !stream->HasPending());
    if (result == TlsResult::kFailed) FUZZ_EXPECT(!stream->Failure().empty());
    if (result != TlsResult::kWantInput) break;
  }
  stream->Shutdown(sink);
  return 0;
}

std::vector<std::vector<uint8_t>> Seeds() {
  std::vector<std::vector<uint8_t>> seeds;
  for (const uint8_t piece : {uint8_t{0}, uint8_t{49}, uint8_t{255}})
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      std::vector<uint8_t> seed = Hello(version, piece == 0 ? "gateway.example" : nullptr);
      seed.insert(seed.begin(), piece);
      seeds.push_back(std::move(seed));
    }
  return seeds;
}

// The front under handshakes, bad peers and replaced contexts at once; live TLS connections move to other threads and go on there.
// Usage: stress_front [seconds]
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <random>
#include <thread>

#include "certificates.h"
#include "client_id.h"
#include "connect_frames.h"
#include "front.h"
#include "layout.h"

namespace penstock::test {
namespace {

constexpr uint32_t kShards = 2;
constexpr uint32_t kTlsListener = 0;
constexpr uint32_t kPlainListener = 1;
constexpr size_t kSizeMax = 40'000;

// Stands for a reactor: adopts what the front hands over, checks that it came to the right shard, answers each byte with itself.
class EchoShard {
 public:
  explicit EchoShard(uint32_t shard) : shard_(shard), wake_(eventfd(0, EFD_CLOEXEC)) {
    InboxTable::Instance().Open(shard, [this] { Wake(); });
    thread_ = std::thread([this] { Run(); });
  }
  ~EchoShard() {
    is_stopping_ = true;
    Wake();
    thread_.join();
    InboxTable::Instance().Close(shard_);
  }
  EchoShard(const EchoShard&) = delete;
  EchoShard& operator=(const EchoShard&) = delete;

 private:
  struct Sink final : CipherSink {
    std::vector<uint8_t> bytes;
    void Append(std::span<const uint8_t> more) override { bytes.insert(bytes.end(), more.begin(), more.end()); }
  };
  void Wake() {
    const uint64_t one = 1;
    EXPECT(write(wake_.get(), &one, sizeof one) == sizeof one);
  }
  // The test's clients always read, so that sending may wait.
  static bool Send(const Handoff& connection, const std::vector<uint8_t>& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t sent = send(connection.fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return false;
      if (sent > 0) at += static_cast<size_t>(sent);
      pollfd writable{connection.fd, POLLOUT, 0};
      if (sent < 0 && poll(&writable, 1, 5000) != 1) return false;
    }
    return true;
  }
  static bool Answer(Handoff& connection, std::span<const uint8_t> plain) {
    Sink sink;
    if (connection.tls == nullptr) {
      sink.Append(plain);
    } else if (!connection.tls->Write(plain, sink)) {
      return false;
    }
    return Send(connection, sink.bytes);
  }
  // False when the connection is at its end.
  static bool Echo(Handoff& connection) {
    std::vector<uint8_t> raw(16'384);
    const ssize_t count = recv(connection.fd, raw.data(), raw.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return true;
    if (count <= 0) return false;
    std::span<const uint8_t> cipher(raw.data(), static_cast<size_t>(count));
    if (connection.tls == nullptr) return Answer(connection, cipher);
    for (;;) {
      std::vector<uint8_t> plain(5000);
      size_t size = 0;
      Sink sink;
      const TlsResult result = connection.tls->Read(cipher, plain, size, sink);
      if (!Send(connection, sink.bytes) || !Answer(connection, std::span(plain).first(size))) return false;
      if (result == TlsResult::kWantInput) return true;
      if (result != TlsResult::kOk) return false;
    }
  }
  void Adopt(Handoff handoff) {
    const FirstFrame frame = ReadMqttFirstFrame(handoff.bytes, 16'384);
    EXPECT(frame.state == FirstFrameState::kWhole);
    const ConnectHead head = ReadConnectHead(std::span(handoff.bytes).first(frame.size));
    EXPECT(head.kind == ConnectKind::kKnown);
    EXPECT(head.client_id.empty() || Fnv1a(head.client_id) % kShards == shard_);
    EXPECT((handoff.tls != nullptr) == (handoff.listener == kTlsListener));
    const bool is_alive = Send(handoff, handoff.unsent) && Answer(handoff, handoff.bytes);
    if (is_alive) connections_.push_back(std::move(handoff));
  }
  void Run() {
    while (!is_stopping_) {
      std::vector<pollfd> polled{{wake_.get(), POLLIN, 0}};
      for (const Handoff& connection : connections_) polled.push_back({connection.fd, POLLIN, 0});
      poll(polled.data(), polled.size(), -1);
      for (size_t i = connections_.size(); i > 0; i--)
        if (polled[i].revents != 0 && !Echo(connections_[i - 1])) connections_.erase(connections_.begin() + static_cast<ptrdiff_t>(i) - 1);
      if (polled[0].revents == 0) continue;
      uint64_t rung = 0;
      EXPECT(read(wake_.get(), &rung, sizeof rung) == sizeof rung);
      for (Handoff& handoff : InboxTable::Instance().Drain(shard_)) Adopt(std::move(handoff));
    }
  }

  uint32_t shard_;
  UniqueFd wake_;
  std::atomic<bool> is_stopping_ = false;
  std::vector<Handoff> connections_;
  std::thread thread_;
};

UniqueFd Connect(uint16_t port, timeval patience = {10, 0}) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int no_delay = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  EXPECT(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

struct FreeClient {
  void operator()(SSL_CTX* value) const { SSL_CTX_free(value); }
  void operator()(SSL* value) const { SSL_free(value); }
  void operator()(SSL_SESSION* value) const { SSL_SESSION_free(value); }
};

// Handshakes, alternately resumed, TLS 1.2 and 1.3; the CONNECT and random blocks must come back as they were sent.
class Client {
 public:
  Client(uint16_t port, uint32_t seed, int version) : port_(port), random_(seed), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_min_proto_version(context_.get(), version);
    SSL_CTX_set_max_proto_version(context_.get(), version);
  }

  void RunOnce() {
    const UniqueFd fd = Connect(port_);
    const std::unique_ptr<SSL, FreeClient> ssl(SSL_new(context_.get()));
    SSL_set_fd(ssl.get(), fd.get());
    if (session_ != nullptr) SSL_set_session(ssl.get(), session_.get());
    EXPECT(SSL_connect(ssl.get()) == 1);
    const std::string id = "client-" + std::to_string(random_());
    std::vector<uint8_t> sent = ConnectFrame("MQTT", 4, id);
    for (int i = 0; i < 3; i++) {
      EXPECT(SSL_write(ssl.get(), sent.data(), static_cast<int>(sent.size())) == static_cast<int>(sent.size()));
      std::vector<uint8_t> received(sent.size());
      for (size_t at = 0; at < received.size();) {
        const int count = SSL_read(ssl.get(), received.data() + at, static_cast<int>(received.size() - at));
        EXPECT(count > 0);
        at += static_cast<size_t>(count);
      }
      EXPECT(received == sent);
      sent.resize(1 + random_() % kSizeMax);
      for (uint8_t& byte : sent) byte = static_cast<uint8_t>(random_());
    }
    resumed_ += SSL_session_reused(ssl.get()) == 1 ? 1 : 0;
    done_++;
    session_.reset(SSL_get1_session(ssl.get()));
    if (random_() % 2 == 0) SSL_shutdown(ssl.get());
  }
  [[nodiscard]] uint32_t done() const { return done_; }
  [[nodiscard]] uint32_t resumed() const { return resumed_; }

 private:
  uint16_t port_;
  std::mt19937 random_;
  std::unique_ptr<SSL_CTX, FreeClient> context_;
  std::unique_ptr<SSL_SESSION, FreeClient> session_;
  uint32_t done_ = 0;
  uint32_t resumed_ = 0;
};

// Peers that do everything wrong: half of them wait a while for the front to end it, some reset.
void BadPeer(uint16_t tls_port, uint16_t plain_port, std::mt19937& random) {
  const bool is_tls = random() % 2 == 0;
  const UniqueFd fd = Connect(is_tls ? tls_port : plain_port, {0, 50'000});
  std::vector<uint8_t> bytes(random() % 600);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  const std::vector<uint8_t> hello{0x16, 3, 1, 2, 0};
  if (random() % 2 == 0) bytes.insert(bytes.begin(), hello.begin(), hello.end());
  if (random() % 3 == 0) bytes = ConnectFrame("MQTT", 5, "half");
  if (random() % 3 == 0 && !bytes.empty()) bytes.resize(bytes.size() - 1);
  (void)!send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  uint8_t answer[64];
  while (random() % 2 == 0 && recv(fd.get(), answer, sizeof answer, 0) > 0) continue;
  const linger reset{1, 0};
  if (random() % 2 == 0) setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

TlsContextOptions OptionsOf(const Certificate& certificate, const Certificate& ca, bool asks_client) {
  TlsContextOptions options;
  options.certificate = certificate.certificate_pem() + ca.certificate_pem();
  options.key = certificate.key_pem();
  options.alpn = {"mqtt"};
  options.names.push_back({"*.example", certificate.certificate_pem(), certificate.key_pem()});
  if (!asks_client) return options;
  options.ca = ca.certificate_pem();
  options.client_certificate = ClientCertificate::kOptional;
  return options;
}

void Run(std::chrono::seconds span, uint32_t seed) {
  const Certificate ca("ca", nullptr);
  const Certificate one("one", &ca);
  const Certificate two("two", &ca);
  FrontOptions options;
  options.shards = kShards;
  options.listeners = {{"tls", "127.0.0.1", 0, "device", ListenerProtocol::kMqtt}, {"plain", "127.0.0.1", 0, {}, ListenerProtocol::kMqtt}};
  std::array<double, FRONT_COUNTER_COUNT> counters{};
  std::atomic<uint32_t> reported = 0;
  std::array<std::unique_ptr<EchoShard>, kShards> shards{std::make_unique<EchoShard>(0), std::make_unique<EchoShard>(1)};
  Front front(options, counters.data(), [&reported](Refusal) { return ++reported > 0; });
  std::string error;
  EXPECT(front.Start() == "listener tls: there is no secure context device");
  EXPECT(front.contexts().Set("device", OptionsOf(one, ca, false), error));
  const std::string start_error = front.Start();
  EXPECT(start_error.empty());
  const uint16_t tls_port = front.BoundPort(kTlsListener, error);
  const uint16_t plain_port = front.BoundPort(kPlainListener, error);

  const auto end = std::chrono::steady_clock::now() + span;
  const auto goes_on = [end] { return std::chrono::steady_clock::now() < end; };
  std::vector<Client> clients;
  for (uint32_t i = 0; i < 4; i++) clients.emplace_back(tls_port, seed + i, i % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
  std::vector<std::thread> threads;
  for (Client& client : clients) threads.emplace_back([&client, &goes_on] { while (goes_on()) client.RunOnce(); });
  threads.emplace_back([&goes_on, tls_port, plain_port, seed] {
    std::mt19937 random(seed);
    while (goes_on()) BadPeer(tls_port, plain_port, random);
  });
  uint32_t reloads = 0;
  while (goes_on()) {
    reloads++;
    // Every 50th changes the rules too, so that tickets must not resume; in between they do.
    EXPECT(front.contexts().Set("device", OptionsOf(reloads % 2 == 0 ? one : two, ca, reloads / 50 % 2 == 1), error));
    TlsContextOptions bad = OptionsOf(one, ca, false);
    bad.key = two.key_pem();
    EXPECT(!front.contexts().Set("device", bad, error));
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  front.Stop();
  front.Stop();
  for (auto& shard : shards) shard.reset();
  uint32_t done = 0;
  uint32_t resumed = 0;
  for (const Client& client : clients) {
    EXPECT(client.done() > 0);
    done += client.done();
    resumed += client.resumed();
  }
  EXPECT(resumed > 0);
  EXPECT(reported > 0);
  EXPECT(Census::Instance().ConnectionCount() == 0);  // every ticket has come back
  EXPECT(counters[FRONT_COUNTER_PENDING] == 0);
  EXPECT(counters[FRONT_COUNTER_HANDED_OVER] >= done);
  std::printf("%u clients, %u resumed, %u reloads, %.0f accepted, %.0f refused as no TLS, %.0f failed handshakes\n", done, resumed, reloads,
              counters[FRONT_COUNTER_ACCEPTED], counters[FRONT_COUNTER_NOT_TLS], counters[FRONT_COUNTER_HANDSHAKE_FAILED]);
}

}  // namespace
}  // namespace penstock::test

int main(int count, char** arguments) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  penstock::test::Run(std::chrono::seconds(count > 1 ? std::atoi(arguments[1]) : 5), seed);
}

// The whole way without Node: clients over TCP and TLS, the front, two reactors that echo, hand half of all new connections on to each
// other, leave records unread now and then, and one of which is ended and started again under load.
// Every byte that comes back must be the next one that was sent; a connection may only be cut off by a shard that ended.
// Usage: stress_reactor [seconds]
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <chrono>
#include <random>

#include "certificates.h"
#include "connect_frames.h"
#include "front.h"
#include "layout.h"
#include "reactor_shard.h"

namespace penstock::test {
namespace {

constexpr uint32_t kShards = 2;
constexpr uint32_t kCapacity = 512 * 1024;
constexpr size_t kFrameMax = 40'000;

class EchoReactor final : public ReactorBench {
 public:
  EchoReactor(uint32_t shard, uint32_t seed, bool is_moderated) : ReactorBench(shard, kCapacity, 1024 * 1024, is_moderated), shard_(shard), random_(seed) {}

  uint64_t accepted = 0;
  uint64_t migrated = 0;

 private:
  void Batch(RingReader& reader, CommandWriter& commands) override {
    // A shard that is busy elsewhere leaves everything for the next turn.
    if (random_() % 16 == 0) {
      CallLater();
      return;
    }
    RingRecord record;
    while (commands.room() > 64 * 1024 && reader.Next(record)) Take(record, commands);
    if (commands.room() <= 64 * 1024) CallLater();
    reader.Release();
  }

  void Take(const RingRecord& record, CommandWriter& commands) {
    const auto offset = static_cast<uint32_t>(record.bytes.data() - ring_data());
    const auto length = static_cast<uint32_t>(record.bytes.size());
    switch (record.kind) {
      case INBOUND_OPENED:
        EXPECT(is_accepted_.emplace(record.id, false).second);
        EXPECT(record.bytes.size() > 2 && record.bytes[0] == '{');
        return;
      case INBOUND_DATA: {
        const auto entry = is_accepted_.find(record.id);
        EXPECT(entry != is_accepted_.end());
        if (!std::exchange(entry->second, true)) return First(record, commands);
        if (random_() % 4 == 0 && length < 32 * 1024) {
          commands.Data(record.id, record.bytes);
        } else {
          commands.Reference(record.id, offset, length);
        }
        if (random_() % 64 == 0) {
          commands.Empty(COMMAND_PAUSE, record.id);
          commands.Empty(COMMAND_RESUME, record.id);
        }
        return;
      }
      case INBOUND_CLOSED:
        EXPECT(is_accepted_.erase(record.id) == 1);
        commands.Empty(COMMAND_FREE, record.id);
        return;
      default:
        EXPECT(record.kind == INBOUND_PRESSED || record.kind == INBOUND_RELIEVED);
    }
  }

  // CONNECT: answered here, or handed on with the frame to the other shard, which sees it as the first one again.
  void First(const RingRecord& record, CommandWriter& commands) {
    if (random_() % 2 == 0) {
      migrated++;
      commands.Migrate(record.id, (shard_ + 1) % kShards, record.bytes);
      return;
    }
    accepted++;
    commands.Data(record.id, record.bytes);
    commands.Word(COMMAND_KEEP_ALIVE, record.id, 20'000 + static_cast<uint32_t>(random_() % 10'000));
    commands.Empty(COMMAND_ACCEPT, record.id);
  }

  uint32_t shard_;
  std::mt19937 random_;
  std::unordered_map<uint32_t, bool> is_accepted_;
};

// The thread of one shard, which can be ended and started again.
class ShardThread {
 public:
  ShardThread(uint32_t shard, uint32_t seed) : shard_(shard), seed_(seed) { Start(); }
  ~ShardThread() { Stop(); }
  ShardThread(const ShardThread&) = delete;
  ShardThread& operator=(const ShardThread&) = delete;

  void Start() {
    is_stopping_ = false;
    std::atomic<bool> is_ready = false;
    thread_ = std::thread([this, &is_ready] {
      seed_++;
      EchoReactor reactor(shard_, seed_, seed_ % 2 == 0);
      is_ready = true;
      is_ready.notify_one();
      while (!is_stopping_) reactor.Turn(20);
      accepted += reactor.accepted;
      migrated += reactor.migrated;
    });
    is_ready.wait(false);
  }
  void Stop() {
    is_stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }

  uint64_t accepted = 0;
  uint64_t migrated = 0;

 private:
  uint32_t shard_;
  uint32_t seed_;
  std::atomic<bool> is_stopping_ = false;
  std::thread thread_;
};

struct FreeTls {
  void operator()(SSL_CTX* value) const { SSL_CTX_free(value); }
  void operator()(SSL* value) const { SSL_free(value); }
};

// One connection of a client, TCP or TLS; false from its functions: cut off.
class Line {
 public:
  Line(uint16_t port, SSL_CTX* context) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int one = 1;
    setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const timeval patience{30, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    EXPECT(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    if (context == nullptr) return;
    ssl_.reset(SSL_new(context));
    SSL_set_fd(ssl_.get(), fd_.get());
    is_open_ = SSL_connect(ssl_.get()) == 1;
  }
  [[nodiscard]] bool Write(std::span<const uint8_t> bytes) {
    while (is_open_ && !bytes.empty()) {
      const ssize_t count = ssl_ ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) : send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes = bytes.subspan(static_cast<size_t>(count));
    }
    return is_open_;
  }
  // 0 = cut off. A wait of 30 s without a byte is a hang: the test fails.
  [[nodiscard]] size_t Read(std::span<uint8_t> room) {
    errno = 0;
    const ssize_t count = ssl_ ? SSL_read(ssl_.get(), room.data(), static_cast<int>(room.size())) : recv(fd_.get(), room.data(), room.size(), 0);
    EXPECT(count > 0 || errno != EAGAIN);
    return count > 0 ? static_cast<size_t>(count) : 0;
  }
  [[nodiscard]] bool Expect(std::span<const uint8_t> bytes) {
    std::vector<uint8_t> room(64 * 1024);
    while (!bytes.empty()) {
      const size_t count = Read(std::span(room).first(std::min(room.size(), bytes.size())));
      if (count == 0) return false;
      EXPECT(std::equal(room.begin(), room.begin() + static_cast<ptrdiff_t>(count), bytes.begin()));
      bytes = bytes.subspan(count);
    }
    return true;
  }

 private:
  UniqueFd fd_;
  std::unique_ptr<SSL, FreeTls> ssl_;
  bool is_open_ = true;
};

void AppendFrame(std::vector<uint8_t>& bytes, std::mt19937& random) {
  const size_t size = random() % 20 == 0 ? random() % kFrameMax : random() % 300;
  bytes.push_back(0x30);
  for (size_t rest = size, more = 1; more != 0; rest >>= 7) {
    more = rest > 0x7f ? 0x80 : 0;
    bytes.push_back(static_cast<uint8_t>((rest & 0x7f) | more));
  }
  for (size_t i = 0; i < size; i++) bytes.push_back(static_cast<uint8_t>(random()));
}

struct Outcome {
  uint32_t whole = 0;  // connections that got everything back
  uint32_t cut = 0;
};

// CONNECT with frames right behind it, then rounds of pipelined frames; all of it must come back.
void RunClient(uint16_t port, SSL_CTX* context, std::mt19937& random, Outcome& outcome) {
  Line line(port, context);
  std::vector<uint8_t> sent = ConnectFrame("MQTT", 4, "client-" + std::to_string(random()));
  bool is_whole = true;
  for (int round = 0; is_whole && round < 4; round++) {
    for (auto count = random() % 40; count > 0; count--) AppendFrame(sent, random);
    const size_t cut = random() % (sent.size() + 1);
    is_whole = line.Write(std::span(sent).first(cut)) && line.Write(std::span(sent).subspan(cut)) && line.Expect(sent);
    sent.clear();
  }
  (is_whole ? outcome.whole : outcome.cut)++;
}

// Sends without reading until everything is full, then reads all of it: nothing may be missing.
void RunSlowReader(uint16_t port, std::mt19937& random, Outcome& outcome) {
  Line line(port, nullptr);
  const std::vector<uint8_t> hello = ConnectFrame("MQTT", 4, "slow-" + std::to_string(random()));
  std::vector<uint8_t> sent;
  while (sent.size() < 1024 * 1024) AppendFrame(sent, random);
  bool is_whole = line.Write(hello) && line.Expect(hello);
  // Beyond what fits anywhere the write waits until it is read: another thread writes.
  std::atomic<bool> is_written = true;
  std::thread writer([&] {
    for (int i = 0; i < 8 && is_written; i++) is_written = line.Write(sent);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the slowness itself; nothing waits for it
  for (int i = 0; is_whole && i < 8; i++) is_whole = line.Expect(sent);
  writer.join();
  (is_whole && is_written ? outcome.whole : outcome.cut)++;
}

void Run(std::chrono::seconds span, uint32_t seed) {
  const Certificate certificate("gateway", nullptr);
  FrontOptions options;
  options.shards = kShards;
  options.listeners = {{"tls", "127.0.0.1", 0, "device", ListenerProtocol::kMqtt}, {"plain", "127.0.0.1", 0, {}, ListenerProtocol::kMqtt}};
  std::array<double, FRONT_COUNTER_COUNT> counters{};
  std::array<std::unique_ptr<ShardThread>, kShards> shards{std::make_unique<ShardThread>(0, seed), std::make_unique<ShardThread>(1, seed + 1000)};
  Front front(options, counters.data(), [](Refusal) { return true; });
  TlsContextOptions context_options;
  context_options.certificate = certificate.certificate_pem();
  context_options.key = certificate.key_pem();
  std::string error;
  EXPECT(front.contexts().Set("device", context_options, error));
  EXPECT(front.Start().empty());
  const uint16_t tls_port = front.BoundPort(0, error);
  const uint16_t plain_port = front.BoundPort(1, error);
  const std::unique_ptr<SSL_CTX, FreeTls> context(SSL_CTX_new(TLS_client_method()));

  // The first half undisturbed: nobody may be cut off. Then one shard ends and starts again and again.
  uint32_t restarts = 0;
  Outcome calm;
  Outcome rough;
  for (const bool is_calm : {true, false}) {
    const auto end = std::chrono::steady_clock::now() + span / 2;
    const auto goes_on = [end] { return std::chrono::steady_clock::now() < end; };
    std::array<Outcome, 6> outcomes{};
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < outcomes.size(); i++) {
      threads.emplace_back([&, i] {
        std::mt19937 random(seed + i);
        do {
          if (i == 0) {
            RunSlowReader(plain_port, random, outcomes[i]);
          } else {
            RunClient(i % 2 == 0 ? tls_port : plain_port, i % 2 == 0 ? context.get() : nullptr, random, outcomes[i]);
          }
        } while (goes_on());
      });
    }
    while (!is_calm && goes_on()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(150));
      shards[1]->Stop();
      shards[1]->Start();
      restarts++;
    }
    for (std::thread& thread : threads) thread.join();
    for (const Outcome& outcome : outcomes) {
      (is_calm ? calm : rough).whole += outcome.whole;
      (is_calm ? calm : rough).cut += outcome.cut;
    }
  }
  front.Stop();
  uint64_t accepted = 0;
  uint64_t migrated = 0;
  for (auto& shard : shards) {
    shard->Stop();
    accepted += shard->accepted;
    migrated += shard->migrated;
  }
  EXPECT(calm.cut == 0 && calm.whole > 0);
  EXPECT(rough.whole > 0 && restarts > 0);
  EXPECT(migrated > 0);
  EXPECT(Census::Instance().ConnectionCount() == 0);
  std::printf("%u connections undisturbed, %u whole and %u cut off over %u restarts; %lu accepted, %lu migrations\n", calm.whole, rough.whole, rough.cut, restarts,
              static_cast<unsigned long>(accepted), static_cast<unsigned long>(migrated));
}

}  // namespace
}  // namespace penstock::test

int main(int count, char** arguments) {
  signal(SIGPIPE, SIG_IGN);  // SSL_write of a client whose shard was ended; Node.js ignores it too
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  penstock::test::Run(std::chrono::seconds(count > 1 ? std::atoi(arguments[1]) : 6), seed);
}

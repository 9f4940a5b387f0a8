// A shard whose connections are socket pairs, and the clients at their other ends; all in one thread.
#pragma once
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <functional>
#include <initializer_list>
#include <map>
#include <string>

#include "certificates.h"
#include "reactor_shard.h"
#include "tls_context.h"

namespace penstock::test {

// What carries a connection's stream.
enum class Layer : uint8_t { kPlain, kWebSocket, kTls };
inline constexpr Layer kLayers[] = {Layer::kPlain, Layer::kWebSocket, Layer::kTls};

struct FreeClient {
  void operator()(SSL_CTX* value) const { SSL_CTX_free(value); }
  void operator()(SSL* value) const { SSL_free(value); }
};

// A client's end of a connection. Reads only when it is told to, and collects the stream inside its layer.
class Peer {
 public:
  Peer(UniqueFd fd, Layer layer) : fd_(std::move(fd)), layer_(layer) {
    if (layer_ != Layer::kTls) return;
    context_.reset(SSL_CTX_new(TLS_client_method()));
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_.get());
  }

  // The handshake, with a server whose socket is `server`.
  [[nodiscard]] std::unique_ptr<TlsStream> ShakeHands(int server) {
    struct Sink final : CipherSink {
      void Append(std::span<const uint8_t> more) override { bytes.insert(bytes.end(), more.begin(), more.end()); }
      std::vector<uint8_t> bytes;
    };
    std::unique_ptr<TlsStream> stream = TlsStream::Accept(ServerContext());
    std::vector<uint8_t> room(64 * 1024);
    bool is_done = false;
    for (int round = 0; !is_done; round++) {
      EXPECT(round < 10);
      const int result = SSL_connect(ssl_.get());
      EXPECT(result == 1 || SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ);
      const ssize_t count = recv(server, room.data(), room.size(), MSG_DONTWAIT);
      EXPECT(count > 0);
      std::span<const uint8_t> cipher(room.data(), static_cast<size_t>(count));
      Sink sink;
      is_done = stream->Handshake(cipher, sink) == TlsResult::kOk;
      EXPECT(send(server, sink.bytes.data(), sink.bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(sink.bytes.size()));
    }
    return stream;
  }

  // Takes what has come, or some `size` bytes of it.
  void Receive(size_t size = SIZE_MAX) {
    std::vector<uint8_t> room(16 * 1024);
    for (size_t taken = 0; taken < size;) {
      const size_t count = Read(room);
      if (count == 0) return;
      taken += count;
      wire_.insert(wire_.end(), room.begin(), room.begin() + static_cast<ptrdiff_t>(count));
      if (layer_ == Layer::kWebSocket) {
        TakeFrames();
      } else {
        stream_.insert(stream_.end(), wire_.begin(), wire_.end());
        wire_.clear();
      }
    }
  }

  [[nodiscard]] const std::vector<uint8_t>& stream() const { return stream_; }
  // FIN, close_notify or a Close frame came.
  [[nodiscard]] bool is_ended() const { return is_ended_; }

 private:
  static SSL_CTX* ServerContext() {
    static const SslContext context = [] {
      const Certificate certificate("shard", nullptr);
      TlsContextTable table;
      TlsContextOptions options;
      std::string error;
      options.certificate = certificate.certificate_pem();
      options.key = certificate.key_pem();
      EXPECT(table.Set("shard", options, error));
      return table.Get("shard");
    }();
    return context.get();
  }

  // 0: nothing came.
  size_t Read(std::span<uint8_t> room) {
    if (ssl_) {
      size_t count = 0;
      const int result = SSL_read_ex(ssl_.get(), room.data(), room.size(), &count);
      if (result == 1) return count;
      is_ended_ = is_ended_ || SSL_get_error(ssl_.get(), result) == SSL_ERROR_ZERO_RETURN;
      return 0;
    }
    const ssize_t count = recv(fd_.get(), room.data(), room.size(), MSG_DONTWAIT);
    is_ended_ = is_ended_ || count == 0;
    return count > 0 ? static_cast<size_t>(count) : 0;
  }

  // The stream inside the frames that came whole.
  void TakeFrames() {
    size_t at = 0;
    for (;;) {
      const size_t rest = wire_.size() - at;
      if (rest < 2) break;
      const size_t length_size = wire_[at + 1] < 126 ? 0 : wire_[at + 1] == 126 ? 2 : 8;
      const size_t header = 2 + length_size;
      if (rest < header) break;
      size_t size = length_size == 0 ? wire_[at + 1] : 0;
      for (size_t i = 2; i < header; i++) size = size << 8 | wire_[at + i];
      if (rest < header + size) break;
      EXPECT(!is_ended_ && (wire_[at] == 0x82 || wire_[at] == 0x88));  // Binary, Close: both whole
      if (wire_[at] == 0x88) {
        is_ended_ = true;
      } else {
        const auto from = wire_.begin() + static_cast<ptrdiff_t>(at + header);
        stream_.insert(stream_.end(), from, from + static_cast<ptrdiff_t>(size));
      }
      at += header + size;
    }
    wire_.erase(wire_.begin(), wire_.begin() + static_cast<ptrdiff_t>(at));
  }

  UniqueFd fd_;
  Layer layer_;
  std::unique_ptr<SSL_CTX, FreeClient> context_;
  std::unique_ptr<SSL, FreeClient> ssl_;
  std::vector<uint8_t> wire_;  // of a frame that has not come whole
  std::vector<uint8_t> stream_;
  bool is_ended_ = false;
};

// Accepts its connections, and then sends what the test asks for.
class PairShard : public ReactorBench {
 public:
  explicit PairShard(size_t command_size, uint32_t shard = 0) : ReactorBench(shard, 256 * 1024, command_size), shard_(shard) {}

  // `stream`: what the front has read of it, inside the frames when there is a WebSocket.
  UniqueFd Open(std::vector<uint8_t> stream = kPing, std::unique_ptr<WebSocket> websocket = nullptr) {
    auto [mine, theirs] = MakePair();
    Handoff handoff;
    handoff.fd = theirs.Release();
    handoff.bytes = std::move(stream);
    handoff.websocket = std::move(websocket);
    Adopt(handoff);
    return std::move(mine);
  }
  Peer Open(Layer layer) {
    auto [mine, theirs] = MakePair();
    Peer peer(std::move(mine), layer);
    Handoff handoff;
    handoff.fd = theirs.Release();
    if (layer == Layer::kTls) handoff.tls = peer.ShakeHands(handoff.fd);
    if (layer == Layer::kWebSocket) handoff.websocket = std::make_unique<WebSocket>();
    handoff.bytes = kPing;
    Adopt(handoff);
    return peer;
  }
  // One batch that `write` makes commands for.
  void Run(std::function<void(CommandWriter&)> write) {
    next_ = std::move(write);
    CallLater();
    while (next_) Turn(0);
  }

  std::vector<uint32_t> ids;
  std::map<uint32_t, uint32_t> closed;  // id -> reason
  uint32_t pressed = 0;

 protected:
  // A packet came.
  virtual void OnPacket(const RingRecord& /*record*/, CommandWriter& /*commands*/) {}

 private:
  static inline const std::vector<uint8_t> kPing = {0xc0, 0};

  static std::pair<UniqueFd, UniqueFd> MakePair() {
    int pair[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    return {UniqueFd(pair[0]), UniqueFd(pair[1])};
  }
  void Adopt(Handoff& handoff) {
    handoff.opened_json = "{}";
    EXPECT(InboxTable::Instance().Push(shard_, handoff));
    const size_t before = ids.size();
    while (ids.size() == before) Turn(1000);
  }
  void Batch(RingReader& reader, CommandWriter& commands) override {
    RingRecord record;
    while (reader.Next(record)) {
      if (record.kind == INBOUND_OPENED) {
        ids.push_back(record.id);
        commands.Empty(COMMAND_ACCEPT, record.id);
      } else if (record.kind == INBOUND_CLOSED) {
        uint32_t reason;
        std::memcpy(&reason, record.bytes.data(), 4);
        closed[record.id] = reason;
      } else if (record.kind == INBOUND_FAULT) {
        uint32_t reason;
        std::memcpy(&reason, record.bytes.data(), 4);
        commands.Word(COMMAND_CLOSE, record.id, reason);
      } else if (record.kind == INBOUND_PRESSED) {
        pressed++;
      } else if (record.kind == INBOUND_DATA) {
        OnPacket(record, commands);
      }
    }
    reader.Release();
    if (next_) std::exchange(next_, nullptr)(commands);
  }

  const uint32_t shard_;
  std::function<void(CommandWriter&)> next_;
};

// Turns the shards until the peer has `size` bytes of its stream, or its end.
inline void Take(Peer& peer, size_t size, std::initializer_list<PairShard*> shards) {
  for (int turn = 0; peer.stream().size() < size && !peer.is_ended(); turn++) {
    EXPECT(turn < 10'000);
    peer.Receive();
    for (PairShard* shard : shards) shard->Turn(0);
  }
}

}  // namespace penstock::test

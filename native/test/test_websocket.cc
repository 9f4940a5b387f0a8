// Unit tests of the WebSocket codec and of the HTTP request that opens one, and of a reactor's connection that speaks it.
#include <sys/socket.h>

#include <cstring>
#include <map>
#include <random>

#include "expect.h"
#include "http_upgrade.h"
#include "pair_shard.h"
#include "websocket.h"
#include "websocket_frames.h"

namespace penstock::test {
namespace {

std::string Text(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

struct Decoded {
  std::string payload;
  std::vector<uint8_t> pong;  // the last one
  uint16_t close_code = 0;
  std::string fault;
};

// Decodes `bytes` in pieces of at most `piece` bytes, the first of `first`.
Decoded DecodeInPieces(std::vector<uint8_t> bytes, size_t first, size_t piece) {
  WebSocketDecoder decoder;
  Decoded decoded;
  std::vector<uint8_t> pong;
  for (size_t at = 0; at < bytes.size() && decoded.close_code == 0;) {
    const size_t size = std::min(at == 0 && first > 0 ? first : piece, bytes.size() - at);
    const std::span<uint8_t> part(bytes.data() + at, size);
    const WebSocketInput input = decoder.Decode(part, pong);
    EXPECT(input.size <= size);
    decoded.payload += Text(part.first(input.size));
    if (!pong.empty()) decoded.pong = pong;
    decoded.close_code = input.close_code;
    if (input.fault != nullptr) decoded.fault = input.fault;
    at += size;
  }
  return decoded;
}

struct FrameVector {
  const char* name;
  std::vector<uint8_t> bytes;
  std::string payload;
  uint16_t close_code = 0;
  std::string fault;
  std::vector<uint8_t> pong;
};

std::vector<FrameVector> FrameVectors() {
  const std::string long_text(300, 'l');
  const std::string huge_text(70'000, 'h');
  const std::string full(125, 'p');
  std::vector<uint8_t> full_pong{0x8a, 125};
  full_pong.insert(full_pong.end(), full.begin(), full.end());
  const std::string shortest = "the length is not written in the shortest form";
  return {
      {"one frame", ClientFrame(0x82, "abc"), "abc", 0, {}, {}},
      {"an empty frame", ClientFrame(0x82, ""), "", 0, {}, {}},
      {"two lengths", Joined({ClientFrame(0x82, long_text), ClientFrame(0x82, "x")}), long_text + "x", 0, {}, {}},
      {"eight length bytes", ClientFrame(0x82, huge_text), huge_text, 0, {}, {}},
      {"a message in three frames", Joined({ClientFrame(0x02, "one"), ClientFrame(0x00, ""), ClientFrame(0x80, "two")}), "onetwo", 0, {}, {}},
      {"a ping between fragments", Joined({ClientFrame(0x02, "a"), ClientFrame(0x89, "hey"), ClientFrame(0x80, "b")}), "ab", 0, {}, {0x8a, 3, 'h', 'e', 'y'}},
      {"the largest ping", ClientFrame(0x89, full), "", 0, {}, full_pong},
      {"an unasked pong", Joined({ClientFrame(0x8a, "x"), ClientFrame(0x82, "y")}), "y", 0, {}, {}},
      {"close without code", Joined({ClientFrame(0x82, "last"), ClientFrame(0x88, "")}), "last", close_code::kNoStatus, {}, {}},
      {"close with code", ClientFrame(0x88, std::string_view("\x03\xe9" "bye", 5)), "", 1001, {}, {}},
      {"close with a code of its own", ClientFrame(0x88, std::string_view("\x0f\xa0", 2)), "", 4000, {}, {}},
      {"close with half a code", ClientFrame(0x88, "x"), "", 1002, "the code of the Close frame is none", {}},
      {"close with a code that is never sent", ClientFrame(0x88, std::string_view("\x03\xed", 2)), "", 1002, "the code of the Close frame is none", {}},
      {"close with a bad reason", ClientFrame(0x88, std::string_view("\x03\xe8\xff", 3)), "", 1007, "the reason in the Close frame is not UTF-8", {}},
      {"text", Joined({ClientFrame(0x82, "before"), ClientFrame(0x81, "hello")}), "before", 1003, "a text frame: MQTT comes in binary frames", {}},
      {"unmasked", ClientFrame(0x82, "abc", false), "", 1002, "the frame is not masked", {}},
      {"reserved bit", ClientFrame(0xc2, "abc"), "", 1002, "a reserved bit is set, and no extension was agreed on", {}},
      {"reserved opcode", ClientFrame(0x83, "abc"), "", 1002, "the opcode is reserved", {}},
      {"reserved control opcode", ClientFrame(0x8b, "abc"), "", 1002, "the opcode is reserved", {}},
      {"fragmented ping", ClientFrame(0x09, "abc"), "", 1002, "a control frame is fragmented", {}},
      {"large ping", ClientFrame(0x89, std::string(126, 'p')), "", 1002, "a control frame is too large", {}},
      {"continuation of nothing", ClientFrame(0x80, "abc"), "", 1002, "a continuation of nothing", {}},
      {"unfinished message", Joined({ClientFrame(0x02, "a"), ClientFrame(0x82, "b")}), "a", 1002, "a fragmented message was not finished", {}},
      {"long form of a short length", ClientFrame(0x82, "abc", true, 2), "", 1002, shortest, {}},
      {"longest form of a middling length", ClientFrame(0x82, long_text, true, 8), "", 1002, shortest, {}},
      {"a frame beyond reason", {0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, "", 1009, "the frame is too large", {}},
      {"a negative length", {0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, "", 1009, "the frame is too large", {}},
  };
}

void FramesBecomeTheStreamInsideThemHoweverTheyAreCut() {
  for (const FrameVector& vector : FrameVectors()) {
    const auto agrees = [&](size_t first, size_t piece) {
      const Decoded decoded = DecodeInPieces(vector.bytes, first, piece);
      const bool is_same = decoded.payload == vector.payload && decoded.close_code == vector.close_code && decoded.fault == vector.fault && decoded.pong == vector.pong;
      if (!is_same) std::fprintf(stderr, "%s: first %zu, pieces of %zu\n", vector.name, first, piece);
      EXPECT(is_same);
    };
    agrees(0, vector.bytes.size());
    agrees(0, 1);
    const size_t cuts = std::min<size_t>(vector.bytes.size(), 400);
    for (size_t cut = 1; cut < cuts; cut++) agrees(cut, vector.bytes.size());
  }
}

void UnmaskingAgreesWithTheDefinitionAtEveryLengthAndOffset() {
  for (size_t size = 0; size < 40; size++)
    for (size_t before = 0; before < 9; before++) {
      std::string text;
      for (size_t i = 0; i < size; i++) text.push_back(static_cast<char>(i * 7));
      const Decoded decoded = DecodeInPieces(Joined({ClientFrame(0x82, std::string(before, 'b')), ClientFrame(0x82, text)}), 0, SIZE_MAX);
      EXPECT(decoded.payload == std::string(before, 'b') + text);
    }
}

void HeadersTakeTheShortestForm() {
  const auto header = [](uint64_t size) {
    const WebSocketHeader made = BinaryHeader(size);
    return std::vector<uint8_t>(made.bytes.begin(), made.bytes.begin() + made.size);
  };
  EXPECT((header(0) == std::vector<uint8_t>{0x82, 0}));
  EXPECT((header(125) == std::vector<uint8_t>{0x82, 125}));
  EXPECT((header(126) == std::vector<uint8_t>{0x82, 126, 0, 126}));
  EXPECT((header(65'535) == std::vector<uint8_t>{0x82, 126, 0xff, 0xff}));
  EXPECT((header(65'536) == std::vector<uint8_t>{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}));
  EXPECT((CloseFrame(1001) == std::vector<uint8_t>{0x88, 2, 3, 0xe9}));
  EXPECT((CloseFrame(close_code::kNoStatus) == std::vector<uint8_t>{0x88, 0}));
}

Upgrade Read(const std::string& request, const OriginRules& origins = {}) {
  return ReadUpgrade({reinterpret_cast<const uint8_t*>(request.data()), request.size()}, 0, origins);
}

// An answer is whole HTTP, says `status`, and stands whatever follows or however the request was cut.
void Answers(const std::string& request, std::string_view status, UpgradeState state, const OriginRules& origins = {}) {
  const Upgrade upgrade = Read(request, origins);
  const bool is_right = upgrade.state == state && upgrade.response.starts_with("HTTP/1.1 " + std::string(status) + " ");
  if (!is_right) std::fprintf(stderr, "%s\n-> %s\n", request.c_str(), upgrade.response.c_str());
  EXPECT(is_right);
  EXPECT(upgrade.detail.empty() == (state == UpgradeState::kUpgraded));
  EXPECT(Read(request + "more", origins).state == state);
  for (size_t size = 0; size < request.size(); size++) {
    const Upgrade part = Read(request.substr(0, size), origins);
    EXPECT(part.state == UpgradeState::kNeedMore || part.response == upgrade.response);
  }
}

void Accepts(const std::string& request, const OriginRules& origins = {}) {
  Answers(request, "101", UpgradeState::kUpgraded, origins);
  EXPECT(Read(request + "frames", origins).size == request.size());
}

RequestParts With(std::string RequestParts::* part, std::string text) {
  RequestParts parts;
  parts.*part = std::move(text);
  return parts;
}

void UpgradesAreAccepted() {
  EXPECT(AcceptKey("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");  // RFC 6455 §1.3
  EXPECT(Read(UpgradeRequest()).response ==
         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
         "Sec-WebSocket-Protocol: mqtt\r\n\r\n");
  Accepts(UpgradeRequest());
  Accepts(UpgradeRequest(With(&RequestParts::line, "GET /mqtt?token=1 HTTP/1.1")));
  Accepts(UpgradeRequest(With(&RequestParts::upgrade, "uPGRADE: h2c, WebSocket\r\nconnection:upgrade\r\n")));
  Accepts(UpgradeRequest(With(&RequestParts::protocol, "Sec-WebSocket-Protocol: soap\r\nSec-WebSocket-Protocol: mqttv3.1 , mqtt\r\n")));
  const std::string old = UpgradeRequest(With(&RequestParts::protocol, "Sec-WebSocket-Protocol: mqttv3.1\r\n"));
  Accepts(old);
  EXPECT(Read(old).response.ends_with("Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n"));
  // Extensions are declined by not being named.
  Accepts(UpgradeRequest(With(&RequestParts::more, "Sec-WebSocket-Extensions: permessage-deflate\r\nContent-Length: 0\r\n")));
  EXPECT(Read(UpgradeRequest()).response.find("Extensions") == std::string::npos);
}

void WhatIsNoUpgradeIsRefusedByItsStatus() {
  using enum UpgradeState;
  Answers(UpgradeRequest(With(&RequestParts::line, "GET / HTTP/1.1")), "404", kNotFound);
  Answers(UpgradeRequest(With(&RequestParts::line, "POST /api HTTP/1.1")), "404", kNotFound);
  Answers("GET /other HTTP/1.0\r\n\r\n", "404", kNotFound);
  Answers(UpgradeRequest(With(&RequestParts::line, "POST /mqtt HTTP/1.1")), "405", kRefused);
  Answers(UpgradeRequest(With(&RequestParts::line, "GET /mqtt HTTP/1.0")), "426", kRefused);
  Answers(UpgradeRequest(With(&RequestParts::upgrade, "")), "426", kRefused);
  Answers(UpgradeRequest(With(&RequestParts::version, "Sec-WebSocket-Version: 8\r\n")), "426", kRefused);
  Answers(UpgradeRequest(With(&RequestParts::version, "")), "426", kRefused);
  EXPECT(Read(UpgradeRequest(With(&RequestParts::version, ""))).response.find("Sec-WebSocket-Version: 13\r\n") != std::string::npos);
  const std::pair<std::string RequestParts::*, std::string> bad[] = {
      {&RequestParts::line, "GET /mqtt HTTP/2.0"},
      {&RequestParts::line, "GET /mqtt"},
      {&RequestParts::line, "G(T /mqtt HTTP/1.1"},
      {&RequestParts::line, "GET  HTTP/1.1"},
      {&RequestParts::line, "GET /m\tq HTTP/1.1"},
      {&RequestParts::host, ""},
      {&RequestParts::host, "Host: a\r\nHost: b\r\n"},
      {&RequestParts::upgrade, "Upgrade: websocket\r\n"},
      {&RequestParts::key, ""},
      {&RequestParts::key, "Sec-WebSocket-Key: c2hvcnQ=\r\n"},
      {&RequestParts::key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n"},
      {&RequestParts::protocol, ""},
      {&RequestParts::protocol, "Sec-WebSocket-Protocol: mqtt5\r\n"},
      {&RequestParts::more, "Content-Length: 5\r\n"},
      {&RequestParts::more, "Transfer-Encoding: chunked\r\n"},
      {&RequestParts::more, " folded: line\r\n"},
      {&RequestParts::more, "no colon\r\n"},
      {&RequestParts::more, "X: bare\nline\r\n"},
      {&RequestParts::more, "X : space\r\n"},
      {&RequestParts::more, "Origin: https://a\r\nOrigin: https://b\r\n"},
  };
  for (const auto& [part, text] : bad) Answers(UpgradeRequest(With(part, text)), "400", kRefused);
  std::string many;
  for (int i = 0; i < 70; i++) many += "X-" + std::to_string(i) + ": y\r\n";
  Answers(UpgradeRequest(With(&RequestParts::more, many)), "400", kRefused);
  Answers(UpgradeRequest(With(&RequestParts::more, "X: " + std::string(kRequestSizeMax, 'x') + "\r\n")), "431", kRefused);
  // The largest that is taken, and one byte more.
  const size_t room = kRequestSizeMax - UpgradeRequest().size() - 5;
  Accepts(UpgradeRequest(With(&RequestParts::more, "X: " + std::string(room, 'x') + "\r\n")));
  Answers(UpgradeRequest(With(&RequestParts::more, "X: " + std::string(room + 1, 'x') + "\r\n")), "431", kRefused);
  EXPECT(Read("\x16\x03\x01").detail == "looks like TLS");
  EXPECT(Read("\x10\x0c").detail == "looks like MQTT without WebSocket");
  EXPECT(Read("\r\n").detail == "no HTTP");
}

void OriginsAreJudgedByTheRules() {
  const auto from = [](std::string origin) { return UpgradeRequest(With(&RequestParts::more, "Origin: " + std::move(origin) + "\r\n")); };
  const auto refuses = [](const std::string& request, const OriginRules& rules) { Answers(request, "403", UpgradeState::kWrongOrigin, rules); };
  const OriginRules same{OriginRules::Kind::kSame, {}};
  Accepts(from("https://gateway.example:8443"), same);
  Accepts(from("https://GATEWAY.example:8443"), same);
  refuses(from("https://gateway.example"), same);
  refuses(from("https://evil.example"), same);
  refuses(from("null"), same);
  RequestParts by_default = With(&RequestParts::host, "Host: gateway.example\r\n");
  by_default.more = "Origin: https://gateway.example:443\r\n";
  Accepts(UpgradeRequest(by_default), same);
  Accepts(from("null"), {OriginRules::Kind::kAny, {}});
  const OriginRules listed{OriginRules::Kind::kListed, {"https://a.example", "http://b.example:8080"}};
  Accepts(from("http://b.example:8080"), listed);
  refuses(from("http://b.example"), listed);
  refuses(from("https://gateway.example:8443"), listed);
  Accepts(UpgradeRequest(), listed);  // no browser
}

void LoopbackSpeaksForTheClientOnlyWithoutATraceOfAProxy() {
  const auto is_direct = [](const std::string& host, const std::string& more = {}) {
    RequestParts parts = With(&RequestParts::host, "Host: " + host + "\r\n");
    parts.more = more;
    return Read(UpgradeRequest(parts)).is_direct;
  };
  for (const char* host : {"localhost", "LOCALHOST:8443", "127.0.0.1:8083", "127.1.2.3", "[::1]", "[::1]:8443"}) EXPECT(is_direct(host));
  for (const char* host : {"gateway.example", "127.0.0.1.example", "localhost.example:80", "192.0.2.1", "[::2]:1"}) EXPECT(!is_direct(host));
  for (const char* header : {"X-Forwarded-For: 192.0.2.1\r\n", "forwarded: for=192.0.2.1\r\n", "Via: 1.1 proxy\r\n", "X-Real-IP: 192.0.2.1\r\n"})
    EXPECT(!is_direct("localhost", header));
}

const std::vector<uint8_t> kFirst = {0x10, 0};

// Gives back each frame it gets, by one multicast to all its connections; an AUTH packet (0xf0) moves its connection to shard 1.
class EchoShard final : public PairShard {
 public:
  explicit EchoShard(uint32_t shard = 0) : PairShard(64 * 1024, shard) {}

  // Sends `bytes`, then turns until `size` bytes have come back, or the connection is over on either side.
  std::vector<uint8_t> Exchange(const UniqueFd& peer, std::span<const uint8_t> bytes, size_t size) {
    EXPECT(send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
    std::vector<uint8_t> received;
    for (int turn = 0; received.size() < size && turn < 2000; turn++) {
      Turn(5);
      std::array<uint8_t, 4096> room;
      const ssize_t count = recv(peer.get(), room.data(), room.size(), MSG_DONTWAIT);
      if (count > 0) received.insert(received.end(), room.begin(), room.begin() + count);
      if (count == 0 || !closed.empty()) break;
    }
    return received;
  }

 private:
  void OnPacket(const RingRecord& record, CommandWriter& commands) override {
    if (record.bytes[0] == 0xf0) {
      commands.Migrate(record.id, 1, kFirst);
    } else if (record.bytes[0] != 0x10) {
      const size_t padded = (record.bytes.size() + 3) & ~size_t{3};
      uint8_t* at = commands.Record(COMMAND_MULTICAST, static_cast<uint32_t>(ids.size()), 4 + padded + 4 * ids.size());
      CommandWriter::Put(at, static_cast<uint32_t>(record.bytes.size()));
      std::memcpy(at + 4, record.bytes.data(), record.bytes.size());
      for (size_t i = 0; i < ids.size(); i++) CommandWriter::Put(at + 4 + padded + 4 * i, ids[i]);
    }
  }
};

void OneMulticastReachesWebSocketAndPlainConnections() {
  EchoShard shard;
  const UniqueFd plain = shard.Open(kFirst, nullptr);
  const UniqueFd framed = shard.Open(kFirst, std::make_unique<WebSocket>());
  const std::string_view packet("\x30\x05\x00\x01tAB", 7);
  const std::vector<uint8_t> expected{packet.begin(), packet.end()};
  std::vector<uint8_t> with_header{0x82, 7};
  with_header.insert(with_header.end(), packet.begin(), packet.end());
  EXPECT(shard.Exchange(framed, ClientFrame(0x82, packet), with_header.size()) == with_header);
  EXPECT(shard.Exchange(plain, {}, expected.size()) == expected);
  EXPECT(shard.Exchange(plain, expected, expected.size()) == expected);
  EXPECT(shard.Exchange(framed, {}, with_header.size()) == with_header);
}

// The front may hand over in the middle of a frame, of its header, or of a ping.
void ConnectionsAreTakenOverWithinAFrame() {
  const std::string_view packets("\xc0\x00\xd0\x02zz", 6);
  const auto wire = Joined({ClientFrame(0x02, std::string_view("\x10\x00", 2)), ClientFrame(0x89, "hi"), ClientFrame(0x80, packets)});
  const std::vector<uint8_t> pong{0x8a, 2, 'h', 'i'};
  std::vector<uint8_t> framed{0x82, 6};
  framed.insert(framed.end(), packets.begin(), packets.end());
  for (size_t cut = 8; cut < wire.size(); cut++) {
    std::vector<uint8_t> head(wire.begin(), wire.begin() + static_cast<ptrdiff_t>(cut));
    auto websocket = std::make_unique<WebSocket>();
    std::vector<uint8_t> front_pong;
    head.resize(websocket->Take(head, front_pong));
    EXPECT(head.size() >= 2);
    const bool has_packet = head.size() >= 4;
    EchoShard shard;
    const UniqueFd peer = shard.Open(head, std::move(websocket));
    std::vector<uint8_t> expected = front_pong.empty() ? pong : std::vector<uint8_t>();
    // A packet that was whole at the hand-over comes back in a frame of its own.
    if (has_packet) {
      expected.insert(expected.end(), {0x82, 2, 0xc0, 0, 0x82, 4, 0xd0, 2, 'z', 'z'});
    } else {
      expected.insert(expected.end(), framed.begin(), framed.end());
    }
    EXPECT(shard.Exchange(peer, std::span(wire).subspan(cut), expected.size()) == expected);
  }
}

// The decoder's state and what was received of a packet go along.
void ConnectionsMoveToAnotherShardWithinAFrame() {
  EchoShard from;
  EchoShard to(1);
  const UniqueFd peer = from.Open(kFirst, std::make_unique<WebSocket>());
  const auto wire = ClientFrame(0x82, std::string_view("\xf0\x00\x30\x05\x00\x01tAB", 9));
  // The AUTH, and the PUBLISH's first three bytes.
  EXPECT(from.Exchange(peer, std::span(wire).first(wire.size() - 4), 1).empty());
  EXPECT(from.closed[from.ids[0]] == CLOSE_REASON_MIGRATED);
  while (to.ids.empty()) to.Turn(1000);
  const std::vector<uint8_t> expected{0x82, 7, 0x30, 5, 0, 1, 't', 'A', 'B'};
  EXPECT(to.Exchange(peer, std::span(wire).last(4), expected.size()) == expected);
}

void EndsAreSaidByTheirCode() {
  struct Case {
    std::vector<uint8_t> bytes;
    std::vector<uint8_t> answer;
    uint32_t reason;
  };
  const std::vector<Case> cases = {
      {ClientFrame(0x88, std::string_view("\x03\xe8", 2)), {0x88, 2, 3, 0xe8}, CLOSE_REASON_PEER_CLOSED},
      {ClientFrame(0x88, ""), {0x88, 0}, CLOSE_REASON_PEER_CLOSED},
      {Joined({ClientFrame(0x82, std::string_view("\xc0\x00", 2)), ClientFrame(0x88, "")}), {0x82, 2, 0xc0, 0, 0x88, 0}, CLOSE_REASON_PEER_CLOSED},
      {ClientFrame(0x81, "text"), {0x88, 2, 3, 0xeb}, CLOSE_REASON_WEBSOCKET_ERROR},
      {ClientFrame(0x82, "x", false), {0x88, 2, 3, 0xea}, CLOSE_REASON_WEBSOCKET_ERROR},
      {ClientFrame(0x82, std::string_view("\x30\xff\xff\xff\xff\x01", 6)), {0x88, 2, 3, 0xea}, CLOSE_REASON_FRAME_MALFORMED},
      {ClientFrame(0x82, std::string_view("\x30\xff\xff\xff\x7f", 5)), {0x88, 2, 3, 0xf1}, CLOSE_REASON_FRAME_TOO_LARGE},
  };
  for (const Case& one : cases) {
    EchoShard shard;
    UniqueFd peer = shard.Open(kFirst, std::make_unique<WebSocket>());
    EXPECT(shard.Exchange(peer, one.bytes, SIZE_MAX) == one.answer);  // until our FIN
    EXPECT(shard.closed.empty());
    peer.Reset();
    while (shard.closed.empty()) shard.Turn(1000);
    EXPECT(shard.closed[shard.ids[0]] == one.reason);
  }
}

}  // namespace
}  // namespace penstock::test

int main() {
  using namespace penstock::test;
  FramesBecomeTheStreamInsideThemHoweverTheyAreCut();
  UnmaskingAgreesWithTheDefinitionAtEveryLengthAndOffset();
  HeadersTakeTheShortestForm();
  UpgradesAreAccepted();
  WhatIsNoUpgradeIsRefusedByItsStatus();
  OriginsAreJudgedByTheRules();
  LoopbackSpeaksForTheClientOnlyWithoutATraceOfAProxy();
  OneMulticastReachesWebSocketAndPlainConnections();
  ConnectionsAreTakenOverWithinAFrame();
  ConnectionsMoveToAnotherShardWithinAFrame();
  EndsAreSaidByTheirCode();
}

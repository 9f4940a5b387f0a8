// Tests of what a reactor holds for peers that read slowly or not at all: what is dropped, what is not, and that order and bytes stay right.
#include "expect.h"
#include "pair_shard.h"

namespace penstock::test {
namespace {

size_t Unsent(const PairShard& shard) { return static_cast<size_t>(shard.counters[REACTOR_COUNTER_OVERFLOW_BYTES]); }
uint32_t Dropped(const PairShard& shard) { return static_cast<uint32_t>(shard.counters[REACTOR_COUNTER_DELIVERIES_DROPPED]); }

std::vector<uint8_t> Joined(std::initializer_list<std::span<const uint8_t>> parts) {
  std::vector<uint8_t> all;
  for (const std::span<const uint8_t> part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// Packets of 1000 bytes: kind, then number. A peer that does not read loses the oldest multicasts and nothing else.
void ASlowReceiverLosesTheOldestMulticasts(Layer layer) {
  constexpr size_t kPacket = 1000;
  constexpr uint32_t kCount = 4000;
  PairShard shard(256 * 1024);
  Peer peer = shard.Open(layer);
  std::vector<uint8_t> packet(kPacket);
  const auto fill = [&packet](uint8_t kind, uint32_t number) {
    packet[0] = kind;
    std::memcpy(packet.data() + 1, &number, 4);
  };
  uint32_t own = 0;
  for (uint32_t i = 0; i < kCount; i += 20) {
    shard.Run([&](CommandWriter& commands) {
      for (uint32_t j = 0; j < 20; j++) {
        fill('m', i + j);
        commands.Multicast(shard.ids, packet);
      }
      if (i % 800 != 0) return;
      fill('d', own++);
      commands.Data(shard.ids[0], packet);
    });
    EXPECT(Unsent(shard) <= OVERFLOW_DELIVERY_MARK);
  }
  EXPECT(shard.pressed == 1 && shard.closed.empty());
  const uint32_t dropped = Dropped(shard);
  EXPECT(dropped > kCount / 2 && dropped < kCount);

  const size_t size = (kCount - dropped + own) * kPacket;
  Take(peer, size, {&shard});
  const std::vector<uint8_t>& received = peer.stream();
  EXPECT(received.size() == size);
  uint32_t next_own = 0;
  uint32_t last = 0;
  uint32_t gaps = 0;
  for (size_t at = 0; at < received.size(); at += kPacket) {
    uint32_t number;
    std::memcpy(&number, received.data() + at + 1, 4);
    if (received[at] == 'd') {
      EXPECT(number == next_own++);
      continue;
    }
    EXPECT(received[at] == 'm' && (at == 0 || number > last));
    if (at > 0 && number != last + 1) gaps++;
    last = number;
  }
  // What was on its way, then the newest: nothing is missing among those.
  EXPECT(next_own == own && last == kCount - 1 && gaps == 1);
}

// What waits when the connection is closed still goes out, in order, and what is sent along with the end behind it.
void AnEndSendsWhatWaits(Layer layer) {
  PairShard shard(1024 * 1024);
  Peer peer = shard.Open(layer);
  const std::vector<uint8_t> large(400'000, 'a');
  const std::vector<uint8_t> multicast(1000, 'b');
  const std::vector<uint8_t> last(10, 'c');
  shard.Run([&](CommandWriter& commands) {
    commands.Data(shard.ids[0], large);
    commands.Data(shard.ids[0], std::span(large).first(1));
  });
  shard.Run([&](CommandWriter& commands) { commands.Data(shard.ids[0], last); });
  shard.Run([&](CommandWriter& commands) {
    commands.Multicast(shard.ids, multicast);
    commands.Data(shard.ids[0], last);
    commands.Word(COMMAND_CLOSE, shard.ids[0], CLOSE_REASON_BY_GATEWAY);
  });
  Take(peer, SIZE_MAX, {&shard});
  EXPECT(Dropped(shard) == 0);
  EXPECT(peer.stream() == Joined({large, std::span(large).first(1), last, multicast, last}));
}

// Room that the kernel has again just when the connection moves is not for what comes behind the overflow.
void AMoveTakesAlongWhatWaitsInOrder(Layer layer) {
  PairShard from(1024 * 1024);
  PairShard to(64 * 1024, 1);
  Peer peer = from.Open(layer);
  const std::vector<uint8_t> first(300'000, 'a');
  const std::vector<uint8_t> large(70'000, 'b');
  const std::vector<uint8_t> small(100, 'c');
  from.Run([&](CommandWriter& commands) {
    commands.Data(from.ids[0], first);
    commands.Data(from.ids[0], large);
    commands.Multicast(from.ids, small);
  });
  const std::vector<uint8_t> expected = Joined({first, large, small});
  EXPECT(Unsent(from) > large.size() + small.size() && Dropped(from) == 0);
  from.Run([&](CommandWriter& commands) {
    peer.Receive(150'000);
    commands.Migrate(from.ids[0], 1, std::vector<uint8_t>{0xc0, 0});
  });
  EXPECT(from.closed[from.ids[0]] == CLOSE_REASON_MIGRATED && Unsent(from) == 0);
  Take(peer, expected.size(), {&from, &to});
  EXPECT(peer.stream() == expected && to.ids.size() == 1 && to.closed.empty());
}

// The first of a batch fills the kernel's buffer, the next is one that may be dropped.
void LargeMulticastsOfOneBatchAreDroppedAndEndNothing() {
  for (const size_t size : {size_t{400'000}, size_t{1'300'000}}) {
    PairShard shard(4 * 1024 * 1024);
    Peer peer = shard.Open(Layer::kPlain);
    const std::vector<uint8_t> first(size, 'a');
    const std::vector<uint8_t> second(size, 'b');
    const std::vector<uint8_t> later(100, 'c');
    shard.Run([&](CommandWriter& commands) {
      commands.Multicast(shard.ids, first);
      commands.Multicast(shard.ids, second);
    });
    EXPECT(shard.closed.empty());
    EXPECT(Dropped(shard) == 1 && shard.pressed == 1);
    Take(peer, size, {&shard});
    shard.Run([&](CommandWriter& commands) { commands.Multicast(shard.ids, later); });
    Take(peer, size + later.size(), {&shard});
    EXPECT(peer.stream() == Joined({first, later}));
  }
}

// The oldest make room for one that then fits; for one that does not fit even so, none goes.
void OneThatCannotFitTakesNothingWithIt() {
  PairShard shard(1024 * 1024);
  Peer peer = shard.Open(Layer::kPlain);
  const std::vector<uint8_t> first(300'000, 'a');
  shard.Run([&](CommandWriter& commands) { commands.Data(shard.ids[0], first); });
  EXPECT(Unsent(shard) > 0 && Unsent(shard) < OVERFLOW_DELIVERY_MARK - 10'000);
  // 9000 bytes are left, of which five small ones take some.
  const std::vector<uint8_t> own(OVERFLOW_DELIVERY_MARK - 9000 - Unsent(shard), 'b');
  const std::vector<uint8_t> small(100, 'c');
  shard.Run([&](CommandWriter& commands) {
    commands.Data(shard.ids[0], own);
    for (int i = 0; i < 5; i++) commands.Multicast(shard.ids, small);
  });
  EXPECT(Unsent(shard) == OVERFLOW_DELIVERY_MARK - 8500 && Dropped(shard) == 0);
  const std::vector<uint8_t> too_large(9001, 'd');
  shard.Run([&](CommandWriter& commands) { commands.Multicast(shard.ids, too_large); });
  EXPECT(Unsent(shard) == OVERFLOW_DELIVERY_MARK - 8500 && Dropped(shard) == 1 && shard.pressed == 1);
  const std::vector<uint8_t> large(9000, 'e');
  shard.Run([&](CommandWriter& commands) { commands.Multicast(shard.ids, large); });
  EXPECT(Unsent(shard) == OVERFLOW_DELIVERY_MARK && Dropped(shard) == 6);
  const std::vector<uint8_t> expected = Joined({first, own, large});
  Take(peer, expected.size(), {&shard});
  EXPECT(peer.stream() == expected && Unsent(shard) == 0);
}

void OverflowOfAllConnectionsTogetherIsBounded() {
  constexpr size_t kMessage = 1024 * 1024;
  PairShard shard(kMessage + 4096);
  const std::vector<uint8_t> message(kMessage);
  std::vector<UniqueFd> peers;
  // None of these reads. Each alone stays below the hard mark; the one with which the sum passes the shard's mark is closed.
  while (shard.closed.empty()) {
    EXPECT(peers.size() < 100);
    peers.push_back(shard.Open());
    shard.Run([&](CommandWriter& commands) { commands.Data(shard.ids.back(), message); });
    shard.Turn(0);
    EXPECT(shard.counters[REACTOR_COUNTER_OVERFLOW_BYTES] <= OVERFLOW_SHARD_MARK);
  }
  EXPECT(peers.size() > OVERFLOW_SHARD_MARK / kMessage && shard.pressed >= peers.size() - 1);
  EXPECT(shard.closed.size() == 1 && shard.closed[shard.ids.back()] == CLOSE_REASON_STALLED);
  // One that reads is served as ever.
  const UniqueFd reading = shard.Open();
  shard.Run([&](CommandWriter& commands) { commands.Data(shard.ids.back(), std::span(message).first(1000)); });
  std::vector<uint8_t> received(2000);
  EXPECT(recv(reading.get(), received.data(), received.size(), 0) == 1000);
  EXPECT(shard.closed.size() == 1);
}

}  // namespace
}  // namespace penstock::test

int main() {
  using namespace penstock::test;
  for (const Layer layer : kLayers) {
    ASlowReceiverLosesTheOldestMulticasts(layer);
    AnEndSendsWhatWaits(layer);
    AMoveTakesAlongWhatWaitsInOrder(layer);
  }
  LargeMulticastsOfOneBatchAreDroppedAndEndNothing();
  OneThatCannotFitTakesNothingWithIt();
  OverflowOfAllConnectionsTogetherIsBounded();
}

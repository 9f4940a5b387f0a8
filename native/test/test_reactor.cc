// Tests of the reactor's parts that need no thread (wheel, queues, moderator), and of the commands of a reactor over socket pairs.
#include <cerrno>
#include <deque>
#include <map>
#include <tuple>
#include <random>

#include "expect.h"
#include "moderator.h"
#include "pair_shard.h"

namespace penstock::test {
namespace {

// Against a sorted list: every node falls due once, never early, at most a tick late; over cancels, later deadlines and long sleeps.
void WheelAgreesWithASortedList() {
  const uint32_t seed = std::random_device{}();
  std::printf("wheel seed %u\n", seed);
  std::mt19937 random(seed);
  uint64_t now = 1'000'000;
  TimerWheel wheel(now);
  std::vector<TimerNode> nodes(500);
  std::map<TimerNode*, uint64_t> expected;
  uint32_t expired = 0;
  for (int step = 0; step < 20'000; step++) {
    TimerNode& node = nodes[random() % nodes.size()];
    switch (random() % 4) {
      case 0:
        wheel.Cancel(node);
        expected.erase(&node);
        break;
      default: {
        const uint64_t due = now + (random() % 10 == 0 ? random() % 1'000'000 : random() % 3'000);
        wheel.Arm(node, due);
        expected[&node] = due;
      }
    }
    if (random() % 3 != 0) continue;
    const int64_t wait = wheel.UntilNext(now);
    EXPECT((wait < 0) == expected.empty());
    now += random() % 200 == 0 ? 100'000 : random() % 100;
    wheel.Expire(now, [&](TimerNode& due) {
      const auto entry = expected.find(&due);
      EXPECT(entry != expected.end() && entry->second <= now && !due.is_armed());
      expected.erase(entry);
      expired++;
    });
    for (const auto& [armed, due] : expected) EXPECT(due + TimerWheel::kTickMs > now && armed->is_armed());
  }
  EXPECT(expired > 1000);
  for (TimerNode& node : nodes) wheel.Cancel(node);
  EXPECT(wheel.UntilNext(now) == -1);
}

void SleepingUntilTheNextTickMissesNothing() {
  uint64_t now = 777;
  TimerWheel wheel(now);
  TimerNode node;
  for (const uint64_t span : std::initializer_list<uint64_t>{1, 63, 64, 65, 1000, 65'535, 65'536, 65'600, 200'000}) {
    const uint64_t due = now + span;
    wheel.Arm(node, due);
    uint32_t wakes = 0;
    bool is_done = false;
    while (!is_done) {
      const int64_t wait = wheel.UntilNext(now);
      EXPECT(wait >= 0 && wakes++ < 8);
      now += static_cast<uint64_t>(wait);
      wheel.Expire(now, [&](TimerNode&) { is_done = true; });
    }
    EXPECT(now >= due && now < due + TimerWheel::kTickMs);
  }
}

void ByteQueueAgreesWithADeque() {
  std::mt19937 random(5);
  ByteQueue queue;
  std::deque<uint8_t> model;
  for (int step = 0; step < 20'000; step++) {
    std::vector<uint8_t> more(random() % 300);
    for (uint8_t& byte : more) byte = static_cast<uint8_t>(random());
    if (random() % 2 == 0) {
      EXPECT(queue.Append(more));
      model.insert(model.end(), more.begin(), more.end());
    } else {
      const size_t count = random() % 8 == 0 ? model.size() : std::min(model.size(), more.size());
      if (random() % 4 == 0) {
        queue.Shrink(count);
        model.erase(model.end() - static_cast<ptrdiff_t>(count), model.end());
      } else {
        queue.Consume(count);
        model.erase(model.begin(), model.begin() + static_cast<ptrdiff_t>(count));
      }
    }
    EXPECT(queue.size() == model.size());
    if (step % 16 == 0) EXPECT(std::equal(model.begin(), model.end(), queue.bytes().begin()));
  }
}

// Pieces of a queue in the plainest form.
struct PieceList {
  struct Piece {
    std::vector<uint8_t> bytes;
    bool is_droppable;
  };
  std::deque<Piece> pieces;

  void Append(Piece piece) {
    if (!piece.is_droppable && !pieces.empty() && !pieces.back().is_droppable && pieces.back().bytes.size() + piece.bytes.size() <= PacketQueue::kPieceMax) {
      pieces.back().bytes.insert(pieces.back().bytes.end(), piece.bytes.begin(), piece.bytes.end());
    } else {
      pieces.push_back(std::move(piece));
    }
  }
  PacketQueue::Dropped DropOldest(size_t wanted) {
    PacketQueue::Dropped dropped;
    for (Piece& piece : std::exchange(pieces, {})) {
      if (!piece.is_droppable || dropped.bytes >= wanted) {
        Append(std::move(piece));
        continue;
      }
      dropped.packets++;
      dropped.bytes += piece.bytes.size();
    }
    return dropped;
  }
  [[nodiscard]] size_t droppable() const {
    size_t size = 0;
    for (const Piece& piece : pieces) size += piece.is_droppable ? piece.bytes.size() : 0;
    return size;
  }
};

// Against a list of packets that are dropped, sent and added at random: mostly small ones, some of which pieces hold only a few.
void PacketQueueAgreesWithAList() {
  std::mt19937 random(7);
  PacketQueue queue;
  PieceList model;
  size_t longest = 0;
  for (int step = 0; step < 30'000; step++) {
    // Mostly filled, then mostly emptied.
    const uint32_t what = random() % 8 + (step / 3000 % 2 == 0 ? 0 : 4);
    longest = std::max(longest, model.pieces.size());
    const size_t small = random() % 60;
    const size_t large = random() % (PacketQueue::kPieceMax / 2);
    const bool is_large = random() % (what < 6 ? 64 : 256) == 0;
    if (what < 6) {
      PieceList::Piece piece{std::vector<uint8_t>(1 + (is_large ? large : small)), random() % 3 != 0};
      for (uint8_t& byte : piece.bytes) byte = static_cast<uint8_t>(random());
      EXPECT(queue.Append(piece.bytes, piece.is_droppable));
      model.Append(std::move(piece));
    } else if (what % 2 == 0) {
      const PacketQueue::Dropped expected = model.DropOldest(is_large ? large : small);
      const PacketQueue::Dropped dropped = queue.DropOldest(is_large ? large : small);
      EXPECT(dropped.packets == expected.packets && dropped.bytes == expected.bytes);
    } else {
      const size_t limit = is_large ? large : small;
      const std::span<const uint8_t> front = queue.Front(limit);
      EXPECT(front.empty() == model.pieces.empty());
      size_t at = 0;
      for (; at < front.size(); model.pieces.pop_front()) {
        const std::vector<uint8_t>& bytes = model.pieces.front().bytes;
        EXPECT(at == 0 || at + bytes.size() <= limit);
        EXPECT(std::equal(bytes.begin(), bytes.end(), front.begin() + static_cast<ptrdiff_t>(at)));
        at += bytes.size();
      }
      EXPECT(at == front.size() && (model.pieces.empty() || at + model.pieces.front().bytes.size() > limit));
      queue.Consume(front.size());
    }
    EXPECT(queue.empty() == model.pieces.empty());
    if (step % 64 == 0) EXPECT(queue.droppable() == model.droppable());
  }
  EXPECT(longest > 300);
}

// How many pieces a queue holds; takes them out.
size_t CountPieces(PacketQueue& queue) {
  size_t count = 0;
  for (; !queue.empty(); count++) queue.Consume(queue.Front(0).size());
  return count;
}

// A peer that asks and does not read can have a hundred thousand of them wait.
void ManySmallPacketsThatStayMakeFewPieces() {
  constexpr size_t kCount = 130'000;
  const std::vector<uint8_t> answer{0xd0, 0};
  const std::vector<uint8_t> delivery{0x30, 2, 0, 0};
  PacketQueue queue;
  for (size_t i = 0; i < kCount; i++) EXPECT(queue.Append(answer, false));
  EXPECT(CountPieces(queue) == kCount * answer.size() / PacketQueue::kPieceMax + 1);
  // With deliveries between them, once these are dropped: all at once, and a few at a time while more come.
  for (const size_t often : {kCount, size_t{1000}}) {
    for (size_t i = 1; i <= kCount; i++) {
      EXPECT(queue.Append(answer, false) && queue.Append(delivery, true));
      if (i % often == 0) EXPECT(queue.DropOldest(SIZE_MAX).packets == often);
    }
    EXPECT(queue.size() == kCount * answer.size());
    EXPECT(CountPieces(queue) == kCount * answer.size() / PacketQueue::kPieceMax + 1);
  }
}

// Simulated turns that are `pause` apart, of which the thread runs `share`; `batch_after(wait)` says how many sockets a turn finds after so
// many nanoseconds. Returns the waits.
template <class BatchAfter>
uint32_t Moderate(Moderator& moderator, uint64_t& now, uint64_t milliseconds, uint64_t pause, BatchAfter batch_after, double share = 0.9) {
  static double used = 0;
  uint32_t waits = 0;
  for (const uint64_t end = now + milliseconds * 1'000'000; now < end;) {
    const uint64_t wait = moderator.WaitBefore(now, [] { return static_cast<uint64_t>(used); });
    EXPECT(wait <= Moderator::kSpacingNs);
    waits += wait > 0 ? 1 : 0;
    now += wait;
    moderator.TurnDone(batch_after(pause + wait));
    now += pause;
    used += share * static_cast<double>(pause);
  }
  return waits;
}

void ModeratorWaitsOnlyWhereItGathers() {
  Moderator moderator;
  uint64_t now = 5'000'000'000;
  // 1000 messages a second: one each millisecond.
  EXPECT(Moderate(moderator, now, 2000, 1'000'000, [](uint64_t) { return 1u; }) == 0);
  // 50,000 a second, whatever we do: most turns wait.
  double due = 0;
  const auto open_loop = [&due](uint64_t span) {
    due += static_cast<double>(span) * 50'000 / 1e9;
    const auto batch = static_cast<uint32_t>(due);
    due -= batch;
    return batch;
  };
  EXPECT(Moderate(moderator, now, 2000, 40'000, open_loop) > 5000);
  // The same where the processor has time.
  (void)Moderate(moderator, now, 1000, 40'000, open_loop, 0.4);
  EXPECT(Moderate(moderator, now, 2000, 40'000, open_loop, 0.4) == 0);
  EXPECT(Moderate(moderator, now, 2000, 40'000, open_loop) > 5000);
  // Three clients that send again when answered: the same three each turn, however long it waits. It finds out and lets them be.
  (void)Moderate(moderator, now, 1000, 40'000, [](uint64_t) { return 3u; });
  const uint32_t waits = Moderate(moderator, now, 4000, 40'000, [](uint64_t) { return 3u; });
  EXPECT(waits < 2000);  // of 100,000 turns
  // Batches that are large anyway.
  EXPECT(Moderate(moderator, now, 100, 40'000, [](uint64_t) { return 200u; }) <= 50);
}

void CommandsForDeadIdsAreIgnored() {
  PairShard shard(64 * 1024);
  UniqueFd first = shard.Open();
  const uint32_t id = shard.ids[0];
  first.Reset();
  while (shard.closed.empty()) shard.Turn(1000);
  const std::vector<uint8_t> text(10, 'x');
  const auto everything = [&](CommandWriter& commands) {
    for (const uint32_t kind : {COMMAND_ACCEPT, COMMAND_PAUSE, COMMAND_RESUME}) commands.Empty(kind, id);
    for (const uint32_t kind : {COMMAND_KEEP_ALIVE, COMMAND_FRAMING, COMMAND_FRAME_SIZE_MAX, COMMAND_CLOSE}) commands.Word(kind, id, 1);
    commands.Data(id, text);
    commands.Migrate(id, 1, text);
  };
  shard.Run(everything);
  shard.Run([&](CommandWriter& commands) { commands.Empty(COMMAND_FREE, id); });
  const UniqueFd second = shard.Open();
  EXPECT((shard.ids[1] & CONNECTION_SLOT_MASK) == (id & CONNECTION_SLOT_MASK) && shard.ids[1] != id);
  shard.Run(everything);
  shard.Run([&](CommandWriter& commands) { commands.Empty(COMMAND_FREE, id); });
  shard.Turn(0);
  uint8_t byte;
  EXPECT(recv(second.get(), &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
  EXPECT(shard.closed.size() == 1 && !shard.is_bad);
}

// Each receiver's own two bytes at both ends and inside, among other data, and in a batch that is more than one send takes.
void PatchedMulticastsReachEachReceiverWithItsOwnBytes() {
  PairShard shard(256 * 1024);
  std::vector<UniqueFd> peers;
  for (int i = 0; i < 3; i++) peers.push_back(shard.Open());
  std::vector<uint32_t> ids = shard.ids;
  ids.push_back(0xffff'fffe);  // gone
  std::vector<std::vector<uint8_t>> expected(3);
  shard.Run([&](CommandWriter& commands) {
    for (uint32_t round = 0; round < 700; round++) {
      const std::vector<uint8_t> bytes(2 + round % 200, static_cast<uint8_t>(round));
      const uint32_t offset = round % static_cast<uint32_t>(bytes.size() - 1);
      commands.Patched(ids, bytes, offset);
      for (size_t i = 0; i < expected.size(); i++) {
        const size_t from = expected[i].size();
        expected[i].insert(expected[i].end(), bytes.begin(), bytes.end());
        expected[i][from + offset] = static_cast<uint8_t>(i);
        expected[i][from + offset + 1] = static_cast<uint8_t>(i + 1);
      }
      commands.Data(ids[round % 3], bytes);
      expected[round % 3].insert(expected[round % 3].end(), bytes.begin(), bytes.end());
    }
  });
  for (size_t i = 0; i < expected.size(); i++) {
    std::vector<uint8_t> received(expected[i].size() + 1);
    size_t count = 0;
    while (count < expected[i].size()) {
      const ssize_t got = recv(peers[i].get(), received.data() + count, received.size() - count, MSG_DONTWAIT);
      if (got > 0) count += static_cast<size_t>(got);
      else shard.Turn(1000);
    }
    received.resize(count);
    EXPECT(received == expected[i]);
  }
  EXPECT(!shard.is_bad && shard.closed.empty());
}

void PatchesBeyondTheBytesAreBad() {
  for (const auto& [length, offset, is_good] : std::initializer_list<std::tuple<size_t, uint32_t, bool>>{
           {2, 0, true}, {2, 1, false}, {1, 0, false}, {0, 0, false}, {9, 7, true}, {9, 8, false}, {9, UINT32_MAX, false}}) {
    PairShard shard(4096);
    const UniqueFd peer = shard.Open();
    shard.Run([&, length = length, offset = offset](CommandWriter& commands) { commands.Patched(shard.ids, std::vector<uint8_t>(length), offset); });
    EXPECT(shard.is_bad == !is_good);
  }
}

}  // namespace
}  // namespace penstock::test

int main() {
  using namespace penstock::test;
  WheelAgreesWithASortedList();
  SleepingUntilTheNextTickMissesNothing();
  ByteQueueAgreesWithADeque();
  PacketQueueAgreesWithAList();
  ManySmallPacketsThatStayMakeFewPieces();
  ModeratorWaitsOnlyWhereItGathers();
  CommandsForDeadIdsAreIgnored();
  PatchedMulticastsReachEachReceiverWithItsOwnBytes();
  PatchesBeyondTheBytesAreBad();
}

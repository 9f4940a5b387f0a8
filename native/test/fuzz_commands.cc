// Fuzzes what runs the commands that JavaScript writes: first the parser alone, then a whole reactor with three live connections. A bug
// in JavaScript may cost its worker, never memory.
#include <sys/socket.h>

#include "fuzz.h"
#include "reactor_shard.h"

namespace {

using namespace penstock;
using penstock::test::CommandWriter;
using penstock::test::ReactorBench;

constexpr uint32_t kCapacity = 128 * 1024;
constexpr size_t kCommandSize = 64 * 1024;
constexpr uint32_t kShard = 3;

// The ids that the first connections of a reactor get.
constexpr uint32_t IdOf(uint32_t slot) { return (1u << CONNECTION_SLOT_BITS) | slot; }

// Gives the fuzzer's bytes as the commands of one batch.
class FuzzedReactor final : public ReactorBench {
 public:
  FuzzedReactor() : ReactorBench(kShard, kCapacity, kCommandSize) {}
  std::span<const uint8_t> next;

 private:
  void Batch(RingReader& reader, CommandWriter& commands) override {
    RingRecord record;
    while (reader.Next(record)) {
      FUZZ_EXPECT(record.kind >= INBOUND_OPENED && record.kind <= INBOUND_FAULT);
      FUZZ_EXPECT(record.bytes.data() >= ring_data() && record.bytes.data() + record.bytes.size() <= ring_data() + kCapacity);
    }
    reader.Release();
    if (next.empty()) return;
    // Raw: the record's own header is part of what is fuzzed.
    std::memcpy(commands.Record(0, 0, next.size()) - RECORD_HEADER_SIZE, next.data(), next.size());
    size_ = next.size();
    next = {};
  }
  bool OnBatch(uint32_t& command_size) override {
    size_ = 0;
    (void)ReactorBench::OnBatch(command_size);
    command_size = static_cast<uint32_t>(size_);
    return true;
  }
  size_t size_ = 0;
};

void ParserAlone(std::span<const uint8_t> bytes) {
  std::vector<uint64_t> aligned(bytes.size() / 8 + 1);
  std::memcpy(aligned.data(), bytes.data(), bytes.size());
  const std::span<const uint8_t> commands(reinterpret_cast<const uint8_t*>(aligned.data()), bytes.size());
  static const std::vector<uint8_t> inbound(1024);
  CommandReader reader(commands, inbound);
  Command command;
  uint64_t sum = 0;
  while (reader.Next(command) == CommandResult::kCommand) {
    for (const uint8_t byte : command.bytes) sum += byte;
    for (const uint32_t id : command.receivers) sum += id;
    for (const Patch& patch : command.patches) sum += patch.id + patch.bytes[0] + patch.bytes[1] + command.bytes[command.value + 1];
    command = Command();
  }
  [[maybe_unused]] static volatile uint64_t kept;
  kept = sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, std::min<size_t>(size, kCommandSize / 2));
  ParserAlone(bytes);
  FuzzedReactor bench;
  std::vector<UniqueFd> peers;
  for (int i = 0; i < 3; i++) {
    int pair[2];
    FUZZ_EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    peers.emplace_back(pair[0]);
    Handoff handoff;
    handoff.fd = pair[1];
    handoff.opened_json = "{}";
    handoff.bytes = {0x10, 1, 'c', 0x30, 1, 'd', 0x30, 5};
    FUZZ_EXPECT(InboxTable::Instance().Push(kShard, handoff));
  }
  bench.Turn(0);
  bench.next = bytes;
  bench.CallLater();
  bench.Turn(0);
  const std::array<uint8_t, 6> more{1, 2, 3, 4, 5, 0x30};
  for (const UniqueFd& peer : peers) (void)!send(peer.get(), more.data(), more.size(), MSG_NOSIGNAL);
  for (int i = 0; i < 3 && !bench.reactor().is_stopped(); i++) bench.Turn(0);
  peers.pop_back();
  if (!bench.reactor().is_stopped()) bench.Turn(0);
  return 0;
}

std::vector<std::vector<uint8_t>> Seeds() {
  std::vector<uint8_t> memory(4096);
  CommandWriter writer(memory);
  const std::vector<uint8_t> text{'t', 'e', 'x', 't'};
  std::vector<std::vector<uint8_t>> seeds;
  const auto take = [&] {
    const uint32_t size = writer.Take();
    seeds.emplace_back(memory.begin(), memory.begin() + size);
  };
  const uint32_t id = IdOf(0);
  writer.Empty(COMMAND_ACCEPT, id);
  writer.Data(id, text);
  writer.Reference(id, 8, 100);
  take();
  uint8_t* multicast = writer.Record(COMMAND_MULTICAST, 3, 4 + 4 + 12);
  CommandWriter::Put(multicast, 3);
  for (uint32_t i = 0; i < 3; i++) CommandWriter::Put(multicast + 8 + i * 4, IdOf(i));
  uint8_t* reference = writer.Record(COMMAND_MULTICAST_REF, 2, 16);
  CommandWriter::Put(reference, 0);
  CommandWriter::Put(reference + 4, 64);
  for (uint32_t i = 0; i < 2; i++) CommandWriter::Put(reference + 8 + i * 4, IdOf(i));
  take();
  writer.Patched(std::array<uint32_t, 3>{IdOf(0), IdOf(1), IdOf(2)}, text, 1);
  take();
  writer.Migrate(id, kShard, text);
  writer.Migrate(IdOf(1), 9, text);
  writer.Empty(COMMAND_FREE, id);
  take();
  writer.Word(COMMAND_KEEP_ALIVE, id, 1);
  writer.Word(COMMAND_FRAMING, id, FRAMING_LINE);
  writer.Word(COMMAND_FRAME_SIZE_MAX, IdOf(1), 5);
  writer.Empty(COMMAND_PAUSE, id);
  writer.Empty(COMMAND_RESUME, id);
  writer.Empty(COMMAND_ACCEPT, id);
  writer.Empty(COMMAND_ACCEPT, IdOf(1));
  writer.Word(COMMAND_CLOSE, IdOf(2), CLOSE_REASON_BY_GATEWAY);
  take();
  return seeds;
}

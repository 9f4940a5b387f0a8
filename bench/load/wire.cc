#include "wire.h"

namespace load {
namespace {

void AppendText(std::string& to, std::string_view text) {
  to.push_back(static_cast<char>(text.size() >> 8));
  to.push_back(static_cast<char>(text.size()));
  to.append(text);
}

// [MQTT 3.1.1 §2.2.3]
void AppendLength(std::string& to, size_t length) {
  do {
    const auto low = static_cast<uint8_t>(length & 0x7f);
    length >>= 7;
    to.push_back(static_cast<char>(low | (length > 0 ? 0x80 : 0)));
  } while (length > 0);
}

std::string Finish(uint8_t first, const std::string& body) {
  std::string packet(1, static_cast<char>(first));
  AppendLength(packet, body.size());
  return packet + body;
}

}  // namespace

Framing NextPacket(std::span<const uint8_t> bytes, Packet& packet, size_t& size) {
  size_t length = 0;
  for (size_t index = 1; index <= 4; index++) {
    if (index >= bytes.size()) return Framing::kIncomplete;
    length |= static_cast<size_t>(bytes[index] & 0x7f) << (7 * (index - 1));
    if ((bytes[index] & 0x80) != 0) continue;
    size = index + 1 + length;
    if (size > bytes.size()) return Framing::kIncomplete;
    packet.first = bytes[0];
    packet.body = bytes.subspan(index + 1, length);
    return Framing::kWhole;
  }
  return Framing::kMalformed;
}

std::string EncodeConnect(std::string_view client_id, uint32_t version, uint16_t keep_alive) {
  std::string body;
  AppendText(body, "MQTT");
  body.push_back(static_cast<char>(version));
  body.push_back(2);  // clean session
  body.push_back(static_cast<char>(keep_alive >> 8));
  body.push_back(static_cast<char>(keep_alive));
  if (version == 5) body.push_back(0);
  AppendText(body, client_id);
  return Finish(kConnect << 4, body);
}

std::string EncodeSubscribe(std::string_view filter, uint32_t qos, uint32_t version, uint16_t packet_id) {
  std::string body(2, '\0');
  WriteU16(reinterpret_cast<uint8_t*>(body.data()), packet_id);
  if (version == 5) body.push_back(0);
  AppendText(body, filter);
  body.push_back(static_cast<char>(qos));
  return Finish(kSubscribe << 4 | 2, body);
}

PublishTemplate EncodePublish(std::string_view topic, size_t payload_size, uint32_t qos, uint32_t version) {
  std::string body;
  AppendText(body, topic);
  const size_t packet_id_at = body.size();
  if (qos > 0) body.append(2, '\0');
  if (version == 5) body.push_back(0);
  const size_t payload_at = body.size();
  body.append(payload_size, 'x');

  PublishTemplate made;
  made.bytes = Finish(static_cast<uint8_t>(kPublish << 4 | qos << 1), body);
  const size_t head = made.bytes.size() - body.size();
  made.packet_id_at = qos > 0 ? head + packet_id_at : 0;
  made.payload_at = head + payload_at;
  return made;
}

bool ReadPublish(const Packet& packet, uint32_t version, uint16_t& packet_id, std::span<const uint8_t>& payload) {
  const std::span<const uint8_t> body = packet.body;
  if (body.size() < 2) return false;
  size_t at = 2 + static_cast<size_t>(ReadU16(body.data()));
  packet_id = 0;
  if (packet.qos() > 0) {
    if (at + 2 > body.size()) return false;
    packet_id = ReadU16(body.data() + at);
    at += 2;
  }
  if (version == 5) {
    if (at >= body.size() || (body[at] & 0x80) != 0) return false;  // brokers send us few properties, under 128 bytes
    at += 1 + static_cast<size_t>(body[at]);
  }
  if (at > body.size()) return false;
  payload = body.subspan(at);
  return true;
}

}  // namespace load

// A pending connection of a WebSocket listener: the HTTP request, its answer, then frames until the CONNECT inside them is whole. All on
// the front's thread.
#include "front.h"
#include "layout.h"

namespace penstock {

// Afterwards `pending.bytes` is the stream inside the frames, as far as it has come, or the request while that is not whole.
Front::Step Front::OnWebSocketBytes(Pending& pending) {
  if (pending.websocket == nullptr) {
    if (OnUpgradeBytes(pending) == Step::kGone) return Step::kGone;
    if (pending.websocket == nullptr) return Step::kStay;
  }
  std::vector<uint8_t> pong;
  const size_t size = pending.websocket->Take(std::span(pending.bytes).subspan(pending.decoded_size), pong);
  pending.decoded_size += size;
  pending.bytes.resize(pending.decoded_size);
  AppendPlain(pending, pong);
  return Flush(pending) ? Step::kStay : Step::kGone;
}

Front::Step Front::OnUpgradeBytes(Pending& pending) {
  Upgrade upgrade = ReadUpgrade(pending.bytes, pending.searched_size, pending.listener->options.origins);
  pending.searched_size = pending.bytes.size();
  if (upgrade.state == UpgradeState::kNeedMore) return Step::kStay;
  const auto* response = reinterpret_cast<const uint8_t*>(upgrade.response.data());
  AppendPlain(pending, {response, upgrade.response.size()});
  if (!Flush(pending)) return Step::kGone;
  switch (upgrade.state) {
    case UpgradeState::kUpgraded:
      pending.bytes.erase(pending.bytes.begin(), pending.bytes.begin() + static_cast<ptrdiff_t>(upgrade.size));
      pending.websocket = std::make_unique<WebSocket>();
      pending.is_direct = upgrade.is_direct && !pending.listener->options.is_behind_proxy;
      Count(FRONT_COUNTER_UPGRADED);
      return Step::kStay;
    case UpgradeState::kNotFound:
      Refuse(pending, FRONT_COUNTER_HTTP_NOT_FOUND, "HTTP_NOT_FOUND", std::move(upgrade.detail));
      return Step::kGone;
    case UpgradeState::kWrongOrigin:
      Refuse(pending, FRONT_COUNTER_ORIGIN_REFUSED, "ORIGIN_REFUSED", std::move(upgrade.detail));
      return Step::kGone;
    default:
      Refuse(pending, FRONT_COUNTER_UPGRADE_REFUSED, "UPGRADE_REFUSED", std::move(upgrade.detail));
      return Step::kGone;
  }
}

// The frames have ended before the CONNECT was whole.
Front::Step Front::OnWebSocketEnd(Pending& pending) {
  if (pending.websocket->fault != nullptr) {
    Refuse(pending, FRONT_COUNTER_WEBSOCKET_REFUSED, "WEBSOCKET_REFUSED", pending.websocket->fault);
    return Step::kGone;
  }
  Count(FRONT_COUNTER_PEER_CLOSED);
  SayGoodbye(pending);
  Discard(pending);
  return Step::kGone;
}

// Into the outbox, encrypted where there is TLS. A stream that has failed shows itself at its next read.
void Front::AppendPlain(Pending& pending, std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  if (pending.tls == nullptr) return outbox_.Append(bytes);
  (void)pending.tls->Write(bytes, outbox_);
}

}  // namespace penstock

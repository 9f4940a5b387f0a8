#include "http_upgrade.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <optional>

namespace penstock {
namespace {

constexpr std::string_view kPath = "/mqtt";
constexpr std::string_view kAcceptMagic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr size_t kHeadersMax = 64;

bool IsLetterOrDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool IsToken(char c) {  // RFC 9110 §5.6.2
  return IsLetterOrDigit(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return Lower(x) == Lower(y); });
}

std::string_view Trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// The next line without its end, which is taken off `text` too. REQUIRES: there is one.
std::string_view TakeLine(std::string_view& text) {
  const size_t end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 2);
  return line;
}

struct Header {
  std::string_view name;
  std::string_view value;
};

struct Request {
  std::string_view method;
  std::string_view target;
  bool is_http_11 = false;
  std::vector<Header> headers;

  [[nodiscard]] size_t Count(std::string_view name) const {
    return static_cast<size_t>(std::count_if(headers.begin(), headers.end(), [&](const Header& one) { return EqualsIgnoringCase(one.name, name); }));
  }
  // The value of a header that stands once; else nothing.
  [[nodiscard]] std::optional<std::string_view> Single(std::string_view name) const {
    if (Count(name) != 1) return {};
    return std::find_if(headers.begin(), headers.end(), [&](const Header& one) { return EqualsIgnoringCase(one.name, name); })->value;
  }
  // Whether one of the elements of a list, which may be spread over several headers, is `word`.
  [[nodiscard]] bool Lists(std::string_view name, std::string_view word) const {
    for (const Header& header : headers) {
      if (!EqualsIgnoringCase(header.name, name)) continue;
      for (std::string_view rest = header.value;;) {
        const size_t comma = rest.find(',');
        if (EqualsIgnoringCase(Trim(rest.substr(0, comma)), word)) return true;
        if (comma == std::string_view::npos) break;
        rest.remove_prefix(comma + 1);
      }
    }
    return false;
  }
};

// Says what is wrong with the request line, or null.
const char* ReadRequestLine(std::string_view line, Request& request) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return "the request line has not three parts";
  request.method = line.substr(0, first);
  request.target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  const auto is_visible = [](char c) { return c > ' ' && c < 0x7f; };
  if (request.method.empty() || !std::all_of(request.method.begin(), request.method.end(), IsToken)) return "the method is malformed";
  if (request.target.empty() || !std::all_of(request.target.begin(), request.target.end(), is_visible)) return "the target is malformed";
  request.is_http_11 = version == "HTTP/1.1";
  return request.is_http_11 || version == "HTTP/1.0" ? nullptr : "the version of HTTP is not 1.1";
}

const char* ReadHeaders(std::string_view text, Request& request) {
  while (!text.empty()) {
    const std::string_view line = TakeLine(text);
    const size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos) return "a header has no name";
    Header header{line.substr(0, colon), Trim(line.substr(colon + 1))};
    if (!std::all_of(header.name.begin(), header.name.end(), IsToken)) return "the name of a header is malformed";
    const auto is_control = [](char c) { return (static_cast<uint8_t>(c) < ' ' && c != '\t') || c == 0x7f; };
    if (std::any_of(header.value.begin(), header.value.end(), is_control)) return "the value of a header is malformed";
    if (request.headers.size() == kHeadersMax) return "there are too many headers";
    request.headers.push_back(header);
  }
  return nullptr;
}

Upgrade Answer(UpgradeState state, std::string_view status, std::string_view more_headers, std::string detail) {
  Upgrade upgrade;
  upgrade.state = state;
  upgrade.response = "HTTP/1.1 " + std::string(status) + "\r\n" + std::string(more_headers) +
                     "Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: " +
                     std::to_string(detail.size() + 1) + "\r\n\r\n" + detail + "\n";
  upgrade.detail = std::move(detail);
  return upgrade;
}

Upgrade Bad(std::string detail) { return Answer(UpgradeState::kRefused, "400 Bad Request", {}, std::move(detail)); }

Upgrade UpgradeRequired(std::string detail) {
  return Answer(UpgradeState::kRefused, "426 Upgrade Required", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n", std::move(detail));
}

// "host:port" without the port that the scheme implies.
std::string_view WithoutDefaultPort(std::string_view authority, std::string_view scheme) {
  const std::string_view port = scheme == "https" ? ":443" : ":80";
  if (authority.ends_with(port)) authority.remove_suffix(port.size());
  return authority;
}

bool IsOriginAllowed(std::string_view origin, std::string_view host, const OriginRules& rules) {
  if (rules.kind == OriginRules::Kind::kAny) return true;
  if (rules.kind == OriginRules::Kind::kListed)
    return std::any_of(rules.allowed.begin(), rules.allowed.end(), [&](const std::string& one) { return EqualsIgnoringCase(one, origin); });
  const size_t colon = origin.find("://");
  if (colon == std::string_view::npos) return false;  // "null": a sandboxed page, a file
  const std::string_view scheme = origin.substr(0, colon);
  return EqualsIgnoringCase(WithoutDefaultPort(origin.substr(colon + 3), scheme), WithoutDefaultPort(host, scheme));
}

// A page of a name that was made to point at this machine comes from loopback, too: its Host tells it apart.
bool IsLoopbackHost(std::string_view host) {
  const size_t bracket = host.find(']');
  const size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const std::string_view name = host.substr(0, colon);
  const bool is_number = name.find_first_not_of("0123456789.") == std::string_view::npos;
  return EqualsIgnoringCase(name, "localhost") || name == "[::1]" || (is_number && name.starts_with("127."));
}

bool IsForwarded(const Request& request) {
  constexpr std::array<std::string_view, 5> kTraces = {"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"};
  return std::any_of(kTraces.begin(), kTraces.end(), [&](std::string_view name) { return request.Count(name) > 0; });
}

// 16 bytes in base64 (RFC 6455 §4.1): 22 characters, then "==".
bool IsKey(std::string_view key) {
  const auto is_base64 = [](char c) { return IsLetterOrDigit(c) || c == '+' || c == '/'; };
  return key.size() == 24 && key.ends_with("==") && std::all_of(key.begin(), key.end() - 2, is_base64);
}

Upgrade Judge(const Request& request, const OriginRules& origins) {
  const std::string_view path = request.target.substr(0, request.target.find('?'));
  const auto host = request.Single("Host");
  if (request.is_http_11 && !host) return Bad("Host must be given once");  // RFC 9112 §3.2
  if (path != kPath) return Answer(UpgradeState::kNotFound, "404 Not Found", {}, "There is nothing here but MQTT over WebSocket at /mqtt.");
  if (request.method != "GET") return Answer(UpgradeState::kRefused, "405 Method Not Allowed", "Allow: GET\r\n", "the method is not GET");
  if (!request.is_http_11 || !request.Lists("Upgrade", "websocket")) return UpgradeRequired("no upgrade to WebSocket is asked for");
  if (!request.Lists("Connection", "upgrade")) return Bad("Connection does not say Upgrade");
  if (request.Single("Sec-WebSocket-Version") != "13") return UpgradeRequired("Sec-WebSocket-Version is not 13");
  // A body would be taken for frames: that is how requests are smuggled past a proxy.
  if (request.Count("Transfer-Encoding") > 0 || (request.Count("Content-Length") > 0 && request.Single("Content-Length") != "0")) return Bad("an upgrade has no body");
  const auto key = request.Single("Sec-WebSocket-Key");
  if (!key || !IsKey(*key)) return Bad("Sec-WebSocket-Key is not 16 bytes in base64");
  const size_t origin_count = request.Count("Origin");
  if (origin_count > 1) return Bad("Origin is given more than once");
  const auto origin = request.Single("Origin");
  if (origin && !IsOriginAllowed(*origin, *host, origins))
    return Answer(UpgradeState::kWrongOrigin, "403 Forbidden", {}, "Pages of this origin may not connect: see `origins` of the listener.");
  // [MQTT-6.0.0-3]; "mqttv3.1" is what clients from before the standard say. The answer is one that was offered [MQTT-6.0.0-4].
  const bool is_mqtt = request.Lists("Sec-WebSocket-Protocol", "mqtt");
  if (!is_mqtt && !request.Lists("Sec-WebSocket-Protocol", "mqttv3.1")) return Bad("Sec-WebSocket-Protocol does not offer mqtt");
  Upgrade upgrade;
  upgrade.state = UpgradeState::kUpgraded;
  upgrade.is_direct = IsLoopbackHost(*host) && !IsForwarded(request);
  upgrade.response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + AcceptKey(*key) +
                     "\r\nSec-WebSocket-Protocol: " + (is_mqtt ? "mqtt" : "mqttv3.1") + "\r\n\r\n";
  return upgrade;
}

}  // namespace

Upgrade ReadUpgrade(std::span<const uint8_t> bytes, size_t searched, const OriginRules& origins) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.empty() && !IsToken(text[0])) return Bad(text[0] == 0x16 ? "looks like TLS" : text[0] == 0x10 ? "looks like MQTT without WebSocket" : "no HTTP");
  const size_t end = text.find("\r\n\r\n", searched < 3 ? 0 : searched - 3);
  if (end == std::string_view::npos ? text.size() >= kRequestSizeMax : end + 4 > kRequestSizeMax)
    return Answer(UpgradeState::kRefused, "431 Request Header Fields Too Large", {}, "the request is too large");
  if (end == std::string_view::npos) return {};
  std::string_view head = text.substr(0, end + 2);
  Request request;
  const char* fault = ReadRequestLine(TakeLine(head), request);
  if (fault == nullptr) fault = ReadHeaders(head, request);
  if (fault != nullptr) return Bad(fault);
  Upgrade upgrade = Judge(request, origins);
  if (upgrade.state == UpgradeState::kUpgraded) upgrade.size = end + 4;
  return upgrade;
}

std::string AcceptKey(std::string_view key) {
  const std::string text = std::string(key) + std::string(kAcceptMagic);
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::array<unsigned char, 29> encoded{};
  const int size = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(digest.size()));
  return {reinterpret_cast<const char*>(encoded.data()), static_cast<size_t>(size)};
}

}  // namespace penstock

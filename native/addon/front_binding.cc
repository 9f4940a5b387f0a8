// createFront (src/reactor/reactor.ts Front): the acceptor thread's face to JavaScript. Everything here runs on main's thread, but for
// RefusalQueue::Push, which the front's thread calls.
#include <deque>
#include <mutex>
#include <optional>

#include "addon.h"
#include "front.h"
#include "layout.h"

namespace penstock {
namespace {

// Refusals on their way from the front's thread to main. The front limits their rate; the bound holds when main's loop is stuck.
class RefusalQueue {
 public:
  static constexpr size_t kCountMax = 64;

  // False when it is full.
  [[nodiscard]] bool Push(Refusal refusal) {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= kCountMax) return false;
    queue_.push_back(std::move(refusal));
    return true;
  }
  [[nodiscard]] std::deque<Refusal> Drain() {
    const std::lock_guard lock(mutex_);
    return std::exchange(queue_, {});
  }

 private:
  std::mutex mutex_;
  std::deque<Refusal> queue_;
};

class FrontResource final : public Resource {
 public:
  FrontResource(Napi::Env env, FrontOptions options, Napi::Float64Array counters, Napi::Function on_refused)
      : env_(env),
        addon_(Addon::Of(env)),
        counters_(Napi::Persistent(counters.As<Napi::Object>())),
        on_refused_(Napi::Persistent(on_refused)),
        context_(env, "penstock.front") {
    async_.data = this;
    if (uv_async_init(addon_.loop(), &async_, &FrontResource::OnWake) != 0) return;
    addon_.HandleOpened();
    is_open_ = true;
    uv_unref(handle());  // a front that was not started keeps no process alive
    front_.emplace(std::move(options), counters.Data(), [this](Refusal refusal) { return OnRefused(std::move(refusal)); });
  }

  // Joins the thread first: after that nobody wakes the handle.
  void Close() override {
    if (!is_open_) return;
    is_open_ = false;
    front_->Stop();
    uv_close(handle(), [](uv_handle_t* handle) { static_cast<FrontResource*>(handle->data)->addon_.HandleClosed(); });
  }

  [[nodiscard]] std::string Start() {
    std::string error = is_open_ ? front_->Start() : "the front was stopped";
    if (error.empty()) uv_ref(handle());
    return error;
  }

  [[nodiscard]] bool is_open() const { return is_open_; }
  [[nodiscard]] Front& front() { return *front_; }

 private:
  bool OnRefused(Refusal refusal) {
    return queue_.Push(std::move(refusal)) && uv_async_send(&async_) == 0;
  }

  static void OnWake(uv_async_t* async) {
    auto* self = static_cast<FrontResource*>(async->data);
    const Napi::HandleScope scope(self->env_);
    for (const Refusal& refusal : self->queue_.Drain()) {
      if (!self->is_open_) return;
      self->on_refused_.MakeCallback(self->env_.Global(),
                                     {Napi::Number::New(self->env_, refusal.listener), Napi::String::New(self->env_, refusal.peer),
                                      Napi::String::New(self->env_, refusal.reason), Napi::String::New(self->env_, refusal.detail)},
                                     self->context_);
      if (!self->env_.IsExceptionPending()) continue;
      napi_fatal_exception(self->env_, self->env_.GetAndClearPendingException().Value());
    }
  }

  uv_handle_t* handle() { return reinterpret_cast<uv_handle_t*>(&async_); }

  Napi::Env env_;
  Addon& addon_;
  Napi::ObjectReference counters_;  // keeps the shared memory alive that the front's thread writes
  Napi::FunctionReference on_refused_;
  Napi::AsyncContext context_;
  uv_async_t async_{};
  RefusalQueue queue_;
  std::optional<Front> front_;
  bool is_open_ = false;
};

// Reads options; the first wrong one is named in `error`, and what is read after it is of no use.
class Reader {
 public:
  explicit Reader(Napi::Object object, std::string where = {}) : object_(object), where_(std::move(where)) {}

  std::string Text(const char* name) {
    const Napi::Value value = object_.Get(name);
    if (value.IsString()) return value.As<Napi::String>().Utf8Value();
    Complain(name, "text");
    return {};
  }
  std::string OptionalText(const char* name) { return object_.Get(name).IsUndefined() ? std::string() : Text(name); }
  // `other` for what is no text.
  std::string TextOr(const char* name, std::string other) { return object_.Get(name).IsString() ? Text(name) : other; }
  bool Flag(const char* name) {
    const Napi::Value value = object_.Get(name);
    if (!value.IsBoolean()) Complain(name, "true or false");
    return value.IsBoolean() && value.As<Napi::Boolean>().Value();
  }
  uint32_t Number(const char* name, uint32_t minimum, uint32_t maximum) {
    const Napi::Value value = object_.Get(name);
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
    if (number >= minimum && number <= maximum) return static_cast<uint32_t>(number);
    Complain(name, "a number from " + std::to_string(minimum) + " to " + std::to_string(maximum));
    return minimum;
  }
  Napi::Array List(const char* name) {
    const Napi::Value value = object_.Get(name);
    if (value.IsArray()) return value.As<Napi::Array>();
    Complain(name, "a list");
    return Napi::Array::New(object_.Env());
  }
  [[nodiscard]] bool Has(const char* name) const { return !object_.Get(name).IsUndefined(); }
  Reader Inner(const char* name) {
    const Napi::Value value = object_.Get(name);
    if (!value.IsObject()) Complain(name, "an object");
    return Reader(value.IsObject() ? value.As<Napi::Object>() : Napi::Object::New(object_.Env()), where_ + name + ".");
  }
  void Complain(const char* name, const std::string& wanted) {
    if (error_.empty()) error_ = where_ + name + " must be " + wanted;
  }
  [[nodiscard]] const std::string& error() const { return error_; }
  void Take(const Reader& inner) {
    if (error_.empty()) error_ = inner.error_;
  }

 private:
  Napi::Object object_;
  std::string where_;
  std::string error_;
};

constexpr uint32_t kMillisecondsMax = 3'600'000;
constexpr uint32_t kCountMax = 10'000'000;

OriginRules ReadOrigins(Reader& reader) {
  OriginRules rules;
  const std::string word = reader.TextOr("origins", {});
  if (word == "any" || word == "same") {
    rules.kind = word == "any" ? OriginRules::Kind::kAny : OriginRules::Kind::kSame;
    return rules;
  }
  rules.kind = OriginRules::Kind::kListed;
  const Napi::Array list = reader.List("origins");
  for (uint32_t i = 0; i < list.Length(); i++) rules.allowed.push_back(list.Get(i).ToString().Utf8Value());
  return rules;
}

FrontListener ReadListener(Reader& reader) {
  FrontListener listener;
  listener.name = reader.Text("name");
  listener.host = reader.Text("host");
  listener.port = static_cast<uint16_t>(reader.Number("port", 0, 65'535));
  if (reader.Has("unix")) {
    Reader unix = reader.Inner("unix");
    listener.path = unix.Text("path");
    listener.mode = unix.Number("mode", 0, 0777);
    reader.Take(unix);
  }
  listener.context = reader.OptionalText("context");
  const std::string protocol = reader.Text("protocol");
  if (protocol != "mqtt" && protocol != "line" && protocol != "websocket") reader.Complain("protocol", "mqtt, line or websocket");
  listener.protocol = protocol == "line" ? ListenerProtocol::kLine : protocol == "websocket" ? ListenerProtocol::kWebSocket : ListenerProtocol::kMqtt;
  if (listener.protocol == ListenerProtocol::kWebSocket) {
    Reader websocket = reader.Inner("websocket");
    listener.origins = ReadOrigins(websocket);
    listener.is_behind_proxy = websocket.Flag("isBehindProxy");
    reader.Take(websocket);
  }
  return listener;
}

FrontOptions ReadFrontOptions(Reader& reader) {
  FrontOptions options;
  const Napi::Array listeners = reader.List("listeners");
  for (uint32_t i = 0; i < listeners.Length(); i++) {
    const std::string where = "listeners[" + std::to_string(i) + "]";
    const Napi::Value one = listeners.Get(i);
    if (!one.IsObject()) {
      reader.Complain(where.c_str(), "an object");
      continue;
    }
    Reader inner(one.As<Napi::Object>(), where + ".");
    options.listeners.push_back(ReadListener(inner));
    reader.Take(inner);
  }
  options.shards = reader.Number("shards", 1, SHARD_COUNT_MAX);
  options.handshake_deadline_ms = reader.Number("handshakeDeadlineMs", 1, kMillisecondsMax);
  options.first_frame_deadline_ms = reader.Number("firstFrameDeadlineMs", 1, kMillisecondsMax);
  options.pending_max = reader.Number("pendingMax", 1, kCountMax);
  options.per_address_max = reader.Number("perAddressMax", 1, kCountMax);
  options.connections_max = reader.Number("connectionsMax", 1, kCountMax);
  options.first_frame_size_max = reader.Number("firstFrameSizeMax", 16, RECORD_LENGTH_MAX);
  return options;
}

TlsContextOptions ReadContextOptions(Reader& reader) {
  TlsContextOptions options;
  options.certificate = reader.Text("certificate");
  options.key = reader.Text("key");
  options.ca = reader.OptionalText("ca");
  options.crl = reader.OptionalText("crl");
  const std::string mode = reader.Text("clientCertificate");
  if (mode != "off" && mode != "optional" && mode != "required") reader.Complain("clientCertificate", "off, optional or required");
  options.client_certificate = mode == "required"   ? ClientCertificate::kRequired
                               : mode == "optional" ? ClientCertificate::kOptional
                                                    : ClientCertificate::kOff;
  const Napi::Array alpn = reader.List("alpn");
  for (uint32_t i = 0; i < alpn.Length(); i++) options.alpn.push_back(alpn.Get(i).ToString().Utf8Value());
  return options;
}

void ReadNames(Napi::Object object, Reader& reader, TlsContextOptions& options) {
  if (object.Get("names").IsUndefined()) return;
  const Napi::Array names = reader.List("names");
  for (uint32_t i = 0; i < names.Length(); i++) {
    const Napi::Value one = names.Get(i);
    if (!one.IsObject()) return reader.Complain("names", "a list of objects");
    Reader inner(one.As<Napi::Object>(), "names[" + std::to_string(i) + "].");
    options.names.push_back({inner.Text("name"), inner.Text("certificate"), inner.Text("key")});
    reader.Take(inner);
  }
}

FrontResource* Self(const Napi::CallbackInfo& info) { return static_cast<FrontResource*>(info.Data()); }

void Throw(Napi::Env env, const std::string& error) { Napi::Error::New(env, error).ThrowAsJavaScriptException(); }

Napi::Value SetContext(const Napi::CallbackInfo& info) {
  const auto refuse = [&info](const std::string& error) {
    Throw(info.Env(), error);
    return info.Env().Undefined();
  };
  if (info.Length() < 2 || !info[0].IsString() || !info[1].IsObject()) return refuse("setContext takes a name and options");
  Reader reader(info[1].As<Napi::Object>());
  TlsContextOptions options = ReadContextOptions(reader);
  ReadNames(info[1].As<Napi::Object>(), reader, options);
  if (!reader.error().empty()) return refuse(reader.error());
  if (!Self(info)->is_open()) return refuse("the front was stopped");
  const std::string name = info[0].As<Napi::String>().Utf8Value();
  std::string error;
  const uint32_t number = Self(info)->front().contexts().Set(name, options, error);
  if (number == 0) return refuse("secure context " + name + ": " + error);
  return Napi::Number::New(info.Env(), number);
}

void Start(const Napi::CallbackInfo& info) {
  const std::string error = Self(info)->Start();
  if (!error.empty()) Throw(info.Env(), error);
}

void Stop(const Napi::CallbackInfo& info) { Self(info)->Close(); }

Napi::Array ListenerStates(Napi::Env env, const Front& front, size_t count) {
  Napi::Array states = Napi::Array::New(env, count);
  for (uint32_t i = 0; i < count; i++) {
    Napi::Object state = Napi::Object::New(env);
    std::string error;
    const uint16_t port = front.BoundPort(i, error);
    if (error.empty()) {
      state.Set("port", Napi::Number::New(env, port));
    } else {
      state.Set("error", Napi::String::New(env, error));
    }
    states.Set(i, state);
  }
  return states;
}

Napi::Value CreateFront(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info.Length() < 1 || !info[0].IsObject()) {
    Throw(env, "createFront takes options");
    return env.Undefined();
  }
  const Napi::Object given = info[0].As<Napi::Object>();
  Reader reader(given);
  FrontOptions options = ReadFrontOptions(reader);
  const Napi::Value counters = given.Get("counters");
  const bool has_counters = counters.IsTypedArray() && counters.As<Napi::TypedArray>().TypedArrayType() == napi_float64_array &&
                            counters.As<Napi::TypedArray>().ElementLength() >= FRONT_COUNTER_COUNT;
  if (!has_counters) reader.Complain("counters", "a Float64Array of FRONT_COUNTER_COUNT");
  if (!given.Get("onRefused").IsFunction()) reader.Complain("onRefused", "a function");
  if (!reader.error().empty()) {
    Throw(env, reader.error());
    return env.Undefined();
  }
  const size_t listener_count = options.listeners.size();
  auto* front = Addon::Of(env).Own(std::make_unique<FrontResource>(env, std::move(options), counters.As<Napi::Float64Array>(),
                                                                   given.Get("onRefused").As<Napi::Function>()));
  if (!front->is_open()) {
    Throw(env, "the loop cannot make another handle");
    return env.Undefined();
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("listeners", ListenerStates(env, front->front(), listener_count));
  object.Set("setContext", Napi::Function::New(env, SetContext, "setContext", front));
  object.Set("start", Napi::Function::New(env, Start, "start", front));
  object.Set("stop", Napi::Function::New(env, Stop, "stop", front));
  return object;
}

}  // namespace

void RegisterFront(Napi::Env env, Napi::Object exports) {
  exports.Set("createFront", Napi::Function::New(env, CreateFront, "createFront"));
}

}  // namespace penstock

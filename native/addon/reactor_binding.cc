// createReactor and adopt (src/reactor/reactor.ts Reactor): the reactor's face to JavaScript and libuv.
// Thread safety: the shard worker's thread; adopt() from any environment.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "addon.h"
#include "call.h"
#include "layout.h"
#include "reactor.h"
#include "tls_context.h"

namespace penstock {

namespace {

constexpr size_t kOpenedJsonMax = 64 * 1024;

// Memory of a SharedArrayBuffer, kept alive by a reference. Node-API has no calls for shared buffers; a typed array over one has its address.
struct SharedBytes {
  Napi::Reference<Napi::Value> pin;
  std::span<uint8_t> bytes;
};

class ReactorResource final : public Resource, public ReactorHost {
 public:
  ReactorResource(Napi::Env env, Napi::Function on_batch) : env_(env), addon_(Addon::Of(env)), on_batch_(env, on_batch, "penstock.reactor") {}

  // False with a JavaScript exception pending.
  bool Open(const ReactorConfig& config, SharedBytes shared, SharedBytes counters) {
    shared_ = std::move(shared);
    counters_ = std::move(counters);
    reactor_ = Reactor::Create(config, *this);
    if (reactor_ == nullptr) {
      Napi::Error::New(env_, std::string("the reactor cannot have its descriptors: ") + std::strerror(errno)).ThrowAsJavaScriptException();
      return false;
    }
    uv_loop_t* loop = addon_.loop();
    const int error = uv_poll_init(loop, &sockets_, reactor_->sockets_fd());
    if (error == 0) addon_.HandleOpened();
    if (error != 0 || uv_poll_init(loop, &control_, reactor_->control_fd()) != 0) {
      if (error == 0) uv_close(AsHandle(&sockets_), &ReactorResource::OnHandleClosed);
      sockets_.data = this;
      Napi::Error::New(env_, "the loop cannot watch the reactor's descriptors").ThrowAsJavaScriptException();
      return false;
    }
    uv_check_init(loop, &check_);
    uv_idle_init(loop, &idle_);
    for (int i = 0; i < 3; i++) addon_.HandleOpened();
    sockets_.data = control_.data = check_.data = idle_.data = this;
    is_open_ = true;
    uv_poll_start(&sockets_, UV_READABLE, &ReactorResource::OnSockets);
    uv_poll_start(&control_, UV_READABLE, &ReactorResource::OnControl);
    return true;
  }

  // May come from inside OnBatch: memory and descriptors go in the close callbacks, when no turn is on the stack any more.
  void Close() override {
    if (!is_open_) return;
    is_open_ = false;
    reactor_->Stop();
    for (uv_handle_t* handle : {AsHandle(&sockets_), AsHandle(&control_), AsHandle(&check_), AsHandle(&idle_)}) {
      uv_close(handle, &ReactorResource::OnHandleClosed);
    }
  }

  bool OnBatch(uint32_t& command_size) override { return on_batch_.Call(command_size); }

  void WatchSockets(bool is_wanted) override {
    if (!is_open_) return;
    if (is_wanted) {
      uv_poll_start(&sockets_, UV_READABLE, &ReactorResource::OnSockets);
    } else {
      uv_poll_stop(&sockets_);
    }
  }

  // At the end of this turn of the loop, or of the next when this one's check phase is running; the idle handle keeps that one from sleeping.
  void CallLater() override {
    if (!is_open_ || is_later_) return;
    is_later_ = true;
    uv_check_start(&check_, &ReactorResource::OnCheck);
    uv_idle_start(&idle_, [](uv_idle_t*) {});
  }

  void OnBadCommands() override {
    const Napi::HandleScope scope(env_);
    napi_fatal_exception(env_, Napi::Error::New(env_, "onBatch wrote commands that are none: a record's kind or size is wrong").Value());
  }

  void OnDrained() override {
    if (on_drained_ != nullptr) (void)on_drained_->Call();
  }

  void Drain(uint32_t reason, uint32_t linger_ms, Napi::Function done) {
    if (on_drained_ != nullptr || !is_open_) return;
    on_drained_ = std::make_unique<LoopCallback>(env_, done, "penstock.drain");
    reactor_->Drain(reason, linger_ms);
  }

  // Throws in JavaScript when they cannot be used.
  void Trust(uint32_t key, const std::string& ca, const std::string& crl) {
    std::string error;
    auto trust = PeerTrust::Create(ca, crl, error);
    if (trust == nullptr) {
      Napi::Error::New(env_, error).ThrowAsJavaScriptException();
      return;
    }
    trusts_.insert_or_assign(key, std::move(trust));
  }

  // Empty for a key that no trust was set for: its connections are as good as when they came.
  [[nodiscard]] std::string PeerFault(uint32_t id, uint32_t key) {
    const auto found = trusts_.find(key);
    return !is_open_ || found == trusts_.end() ? std::string() : reactor_->PeerFault(id, *found->second);
  }

  // Null after destroy().
  [[nodiscard]] Reactor* reactor() { return is_open_ ? reactor_.get() : nullptr; }

 private:
  template <class Handle>
  static uv_handle_t* AsHandle(Handle* handle) {
    return reinterpret_cast<uv_handle_t*>(handle);
  }

  static void OnSockets(uv_poll_t* handle, int, int) {
    auto* self = static_cast<ReactorResource*>(handle->data);
    self->reactor_->OnSocketsReady();
    self->AfterTurn();
  }

  static void OnControl(uv_poll_t* handle, int, int) {
    auto* self = static_cast<ReactorResource*>(handle->data);
    self->reactor_->OnControlReady();
    self->AfterTurn();
  }

  static void OnCheck(uv_check_t* handle) {
    auto* self = static_cast<ReactorResource*>(handle->data);
    self->is_later_ = false;
    uv_check_stop(&self->check_);
    uv_idle_stop(&self->idle_);
    self->reactor_->OnLater();
    self->AfterTurn();
  }

  // A reactor that stopped by itself (onBatch threw) takes no more events; its worker ends, or main calls destroy().
  void AfterTurn() {
    if (reactor_->is_stopped()) Close();
  }

  static void OnHandleClosed(uv_handle_t* handle) {
    auto* self = static_cast<ReactorResource*>(handle->data);
    if (--self->handles_ == 0) self->reactor_.reset();
    self->addon_.HandleClosed();
  }

  Napi::Env env_;
  Addon& addon_;
  LoopCallback on_batch_;
  std::unique_ptr<LoopCallback> on_drained_;
  SharedBytes shared_;
  SharedBytes counters_;
  std::unique_ptr<Reactor> reactor_;
  std::map<uint32_t, std::unique_ptr<PeerTrust>> trusts_;
  uv_poll_t sockets_{};
  uv_poll_t control_{};
  uv_check_t check_{};
  uv_idle_t idle_{};
  int handles_ = 4;
  bool is_open_ = false;
  bool is_later_ = false;
};

Reactor* ReactorOf(const Napi::CallbackInfo& info) { return static_cast<ReactorResource*>(info.Data())->reactor(); }

uint32_t NumberAt(const Napi::CallbackInfo& info, size_t index) { return info[index].IsNumber() ? info[index].As<Napi::Number>().Uint32Value() : 0; }

void Flush(const Napi::CallbackInfo& info) {
  Reactor* reactor = ReactorOf(info);
  if (reactor == nullptr) return;
  if (!reactor->is_in_batch()) {
    Napi::Error::New(info.Env(), "flush may only be called inside onBatch").ThrowAsJavaScriptException();
  } else if (!reactor->Flush(NumberAt(info, 0))) {
    Napi::Error::New(info.Env(), "flush met commands that are none: a record's kind or size is wrong").ThrowAsJavaScriptException();
  }
}

void PauseAll(const Napi::CallbackInfo& info) {
  if (Reactor* reactor = ReactorOf(info)) reactor->PauseAll();
}

void ResumeAll(const Napi::CallbackInfo& info) {
  if (Reactor* reactor = ReactorOf(info)) reactor->ResumeAll();
}

void Later(const Napi::CallbackInfo& info) { static_cast<ReactorResource*>(info.Data())->CallLater(); }

void Drain(const Napi::CallbackInfo& info) {
  const uint32_t reason = NumberAt(info, 0);
  if (reason >= CLOSE_REASON_COUNT || info.Length() < 3 || !info[2].IsFunction()) {
    Napi::TypeError::New(info.Env(), "drain takes a close reason, milliseconds and a function").ThrowAsJavaScriptException();
    return;
  }
  static_cast<ReactorResource*>(info.Data())->Drain(reason, NumberAt(info, 1), info[2].As<Napi::Function>());
}

void Trust(const Napi::CallbackInfo& info) {
  if (info.Length() < 3 || !info[0].IsNumber() || !info[1].IsString() || !info[2].IsString()) {
    Napi::TypeError::New(info.Env(), "trust takes a number, a CA and a CRL").ThrowAsJavaScriptException();
    return;
  }
  static_cast<ReactorResource*>(info.Data())->Trust(NumberAt(info, 0), info[1].As<Napi::String>().Utf8Value(), info[2].As<Napi::String>().Utf8Value());
}

Napi::Value PeerFault(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), static_cast<ReactorResource*>(info.Data())->PeerFault(NumberAt(info, 0), NumberAt(info, 1)));
}

void Destroy(const Napi::CallbackInfo& info) { static_cast<ReactorResource*>(info.Data())->Close(); }

// The bytes of a buffer (shared or not) or of a typed array over one.
SharedBytes BytesOf(Napi::Env env, Napi::Value value) {
  SharedBytes shared;
  Napi::Value array = value;
  if (!value.IsTypedArray()) array = env.Global().Get("Uint8Array").As<Napi::Function>().New({value});
  if (env.IsExceptionPending()) return shared;
  void* data = nullptr;
  size_t length = 0;
  napi_typedarray_type type{};
  if (napi_get_typedarray_info(env, array, &type, &length, &data, nullptr, nullptr) != napi_ok) return shared;
  shared.bytes = {static_cast<uint8_t*>(data), type == napi_float64_array ? length * sizeof(double) : length};
  shared.pin = Napi::Persistent(array);
  return shared;
}

// Why the options cannot be used; null when they can.
const char* ReadOptions(Napi::Object options, ReactorConfig& config, SharedBytes& shared, SharedBytes& counters) {
  const Napi::Env env = options.Env();
  const Napi::Value inbound_value = options.Get("inbound");
  const Napi::Value commands_value = options.Get("commands");
  if (!inbound_value.IsObject() || !commands_value.IsObject() || !options.Get("counters").IsTypedArray()) return "inbound, commands and counters are needed";
  const auto inbound = inbound_value.As<Napi::Object>();
  const auto commands = commands_value.As<Napi::Object>();
  shared = BytesOf(env, inbound.Get("buffer"));
  counters = BytesOf(env, options.Get("counters"));
  const auto number = [](Napi::Object object, const char* name) { return object.Get(name).ToNumber().Int64Value(); };
  const int64_t size = static_cast<int64_t>(shared.bytes.size());
  const int64_t ring_at = number(inbound, "byteOffset");
  const int64_t capacity = number(inbound, "capacity");
  const int64_t commands_at = number(commands, "byteOffset");
  const int64_t commands_size = number(commands, "size");
  const int64_t frame_size_max = number(options, "maximumFrameSize");
  const int64_t shard = number(options, "shard");
  if (shard < 0 || shard >= SHARD_COUNT_MAX) return "shard is out of range";
  if (capacity < 128 * 1024 || (capacity & (capacity - 1)) != 0) return "the inbound ring's capacity must be a power of two of 128 KiB or more";
  if (ring_at < 0 || ring_at % 64 != 0 || ring_at + RING_CONTROL_SIZE + capacity > size) return "the inbound ring does not lie in its buffer";
  if (commands_at < 0 || commands_at % 8 != 0 || commands_size < 0 || commands_size > UINT32_MAX || commands_at + commands_size > size) return "the command memory does not lie in the buffer";
  if (counters.bytes.size() < REACTOR_COUNTER_COUNT * sizeof(double)) return "counters is too short";
  if (frame_size_max < 16 || frame_size_max > Reactor::FrameSizeLimit(static_cast<uint32_t>(capacity))) return "maximumFrameSize must be at least 16, and four frames must fit the inbound ring";
  config.shard = static_cast<uint32_t>(shard);
  config.inbound = {reinterpret_cast<uint32_t*>(shared.bytes.data() + ring_at), shared.bytes.data() + ring_at + RING_CONTROL_SIZE, static_cast<uint32_t>(capacity)};
  config.commands = shared.bytes.subspan(static_cast<size_t>(commands_at), static_cast<size_t>(commands_size));
  config.counters = reinterpret_cast<double*>(counters.bytes.data());
  config.frame_size_max = static_cast<uint32_t>(frame_size_max);
  const Napi::Value wake = options.Get("wake");
  config.is_moderated = wake.IsString() && wake.As<Napi::String>().Utf8Value() == "throughput";
  return nullptr;
}

Napi::Value CreateReactor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  ReactorConfig config;
  SharedBytes shared;
  SharedBytes counters;
  const char* fault = "options with onBatch are needed";
  if (info[0].IsObject() && info[0].As<Napi::Object>().Get("onBatch").IsFunction()) fault = ReadOptions(info[0].As<Napi::Object>(), config, shared, counters);
  if (env.IsExceptionPending()) return env.Undefined();
  if (fault != nullptr) {
    Napi::RangeError::New(env, std::string("createReactor: ") + fault).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto* reactor = Addon::Of(env).Own(std::make_unique<ReactorResource>(env, info[0].As<Napi::Object>().Get("onBatch").As<Napi::Function>()));
  if (!reactor->Open(config, std::move(shared), std::move(counters))) return env.Undefined();
  Napi::Object object = Napi::Object::New(env);
  object.Set("flush", Napi::Function::New(env, Flush, "flush", reactor));
  object.Set("pauseAll", Napi::Function::New(env, PauseAll, "pauseAll", reactor));
  object.Set("resumeAll", Napi::Function::New(env, ResumeAll, "resumeAll", reactor));
  object.Set("later", Napi::Function::New(env, Later, "later", reactor));
  object.Set("drain", Napi::Function::New(env, Drain, "drain", reactor));
  object.Set("trust", Napi::Function::New(env, Trust, "trust", reactor));
  object.Set("peerFault", Napi::Function::New(env, PeerFault, "peerFault", reactor));
  object.Set("destroy", Napi::Function::New(env, Destroy, "destroy", reactor));
  return object;
}

// adopt(shard, fd, framing, openedJson, firstBytes): see src/reactor/reactor.ts.
Napi::Value Adopt(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info.Length() < 5 || !info[0].IsNumber() || !info[1].IsNumber() || !info[2].IsNumber() || !info[3].IsString() || !info[4].IsTypedArray()) {
    Napi::TypeError::New(env, "adopt takes shard, fd, framing, JSON text and bytes").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Handoff handoff;
  handoff.framing = static_cast<uint8_t>(NumberAt(info, 2));
  handoff.opened_json = info[3].As<Napi::String>().Utf8Value();
  if (handoff.framing > FRAMING_RAW || handoff.opened_json.size() > kOpenedJsonMax) {
    Napi::RangeError::New(env, "adopt: framing is out of range, or the JSON is too long").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const SharedBytes first = BytesOf(env, info[4]);
  handoff.bytes.assign(first.bytes.begin(), first.bytes.end());
  handoff.fd = fcntl(info[1].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 0);
  if (handoff.fd < 0) {
    Napi::Error::New(env, std::string("adopt: ") + std::strerror(errno)).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const int one = 1;
  setsockopt(handoff.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return Napi::Boolean::New(env, InboxTable::Instance().Push(NumberAt(info, 0), handoff));
}

}  // namespace

void RegisterReactor(Napi::Env env, Napi::Object exports) {
  exports.Set("createReactor", Napi::Function::New(env, CreateReactor, "createReactor"));
  exports.Set("adopt", Napi::Function::New(env, Adopt, "adopt"));
}

}  // namespace penstock

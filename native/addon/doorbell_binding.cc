// createDoorbell and ring: wake-ups between threads by uv_async (src/reactor/reactor.ts Doorbell).
// A shard's doorbell is no Doorbell: its reactor owns that slot.
#include "addon.h"
#include "call.h"
#include "doorbell.h"
#include "layout.h"

namespace penstock {

namespace {

class DoorbellResource final : public Resource {
 public:
  DoorbellResource(Napi::Env env, uint32_t slot, Napi::Function on_ring)
      : addon_(Addon::Of(env)), callback_(env, on_ring, "penstock.doorbell"), slot_(slot) {
    async_.data = this;
    if (uv_async_init(addon_.loop(), &async_, &DoorbellResource::OnRing) != 0) {
      is_open_ = false;
      return;
    }
    addon_.HandleOpened();
    ticket_ = DoorbellTable::Instance().Open(slot, [this] { uv_async_send(&async_); });
  }

  void Close() override {
    if (!is_open_) return;
    is_open_ = false;
    DoorbellTable::Instance().Close(slot_, ticket_);
    uv_close(reinterpret_cast<uv_handle_t*>(&async_), [](uv_handle_t* handle) {
      static_cast<DoorbellResource*>(handle->data)->addon_.HandleClosed();
    });
  }

  [[nodiscard]] bool is_open() const { return is_open_; }
  uv_handle_t* handle() { return reinterpret_cast<uv_handle_t*>(&async_); }

 private:
  static void OnRing(uv_async_t* async) {
    auto* self = static_cast<DoorbellResource*>(async->data);
    if (self->is_open_) self->callback_.Call();
  }

  Addon& addon_;
  LoopCallback callback_;
  uv_async_t async_{};
  uint32_t slot_;
  uint64_t ticket_ = 0;
  bool is_open_ = true;
};

DoorbellResource* Self(const Napi::CallbackInfo& info) { return static_cast<DoorbellResource*>(info.Data()); }

void CloseDoorbell(const Napi::CallbackInfo& info) { Self(info)->Close(); }

void RefDoorbell(const Napi::CallbackInfo& info) {
  if (Self(info)->is_open()) uv_ref(Self(info)->handle());
}

void UnrefDoorbell(const Napi::CallbackInfo& info) {
  if (Self(info)->is_open()) uv_unref(Self(info)->handle());
}

Napi::Value CreateDoorbell(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info.Length() < 2 || !info[0].IsNumber() || !info[1].IsFunction() || info[0].As<Napi::Number>().Uint32Value() >= DOORBELL_COUNT) {
    Napi::TypeError::New(env, "createDoorbell takes a slot below DOORBELL_COUNT and a function").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto* doorbell = Addon::Of(env).Own(std::make_unique<DoorbellResource>(env, info[0].As<Napi::Number>().Uint32Value(), info[1].As<Napi::Function>()));
  if (!doorbell->is_open()) {
    Napi::Error::New(env, "the loop cannot make another handle").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("close", Napi::Function::New(env, CloseDoorbell, "close", doorbell));
  object.Set("ref", Napi::Function::New(env, RefDoorbell, "ref", doorbell));
  object.Set("unref", Napi::Function::New(env, UnrefDoorbell, "unref", doorbell));
  return object;
}

// Raw Node-API: it is called once per wake-up of a hot path.
napi_value Ring(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument = nullptr;
  uint32_t slot = DOORBELL_COUNT;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  if (count == 1) napi_get_value_uint32(env, argument, &slot);
  DoorbellTable::Instance().Ring(slot);
  return nullptr;
}

}  // namespace

void RegisterDoorbell(Napi::Env env, Napi::Object exports) {
  exports.Set("createDoorbell", Napi::Function::New(env, CreateDoorbell, "createDoorbell"));
  napi_value ring = nullptr;
  napi_create_function(env, "ring", NAPI_AUTO_LENGTH, Ring, nullptr, &ring);
  exports.Set("ring", Napi::Value(env, ring));
}

}  // namespace penstock

// Entry point of the addon; see addon.h.
#include "addon.h"

namespace penstock {

Addon::Addon(Napi::Env env) {
  napi_get_uv_event_loop(env, &loop_);
  napi_add_async_cleanup_hook(env, &Addon::OnCleanup, this, &cleanup_);
}

Addon& Addon::Of(napi_env env) { return *Napi::Env(env).GetInstanceData<Addon>(); }

void Addon::HandleClosed() {
  open_handles_--;
  if (is_cleaning_ && open_handles_ == 0) FinishCleanup();
}

void Addon::OnCleanup(napi_async_cleanup_hook_handle, void* pointer) {
  auto* addon = static_cast<Addon*>(pointer);
  for (auto& resource : addon->resources_) resource->Close();
  addon->is_cleaning_ = true;
  if (addon->open_handles_ == 0) addon->FinishCleanup();
}

// The environment frees the Addon (its instance data) after this.
void Addon::FinishCleanup() {
  napi_async_cleanup_hook_handle handle = cleanup_;
  cleanup_ = nullptr;
  if (handle != nullptr) napi_remove_async_cleanup_hook(handle);
}

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Addon(env));
  RegisterProcess(env, exports);
  if (env.IsExceptionPending()) return exports;
  RegisterReactor(env, exports);
  RegisterDoorbell(env, exports);
  RegisterFront(env, exports);
  return exports;
}

NODE_API_MODULE(penstock, Init)

}  // namespace penstock

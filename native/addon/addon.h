// What the addon owns in one environment (main or a worker), and how that ends.
// Thread safety: everything here runs on the environment's own thread.
// Invariant: no uv handle of ours is open when the environment's loop closes; an open one would abort the whole process. Hence the
// *asynchronous* clean-up hook: it closes every resource and is removed only when the last handle's close callback has run.
#pragma once
#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace penstock {

// Something with handles, threads or descriptors. Owned by its Addon until the environment is gone: JavaScript functions point at it.
class Resource {
 public:
  Resource() = default;
  virtual ~Resource() = default;
  Resource(const Resource&) = delete;
  Resource& operator=(const Resource&) = delete;
  // Joins its threads, closes its descriptors, uv_close()s its handles (Addon::HandleClosed in their callbacks). Idempotent.
  virtual void Close() = 0;
};

class Addon {
 public:
  explicit Addon(Napi::Env env);
  Addon(const Addon&) = delete;
  Addon& operator=(const Addon&) = delete;

  static Addon& Of(napi_env env);
  [[nodiscard]] uv_loop_t* loop() const { return loop_; }

  // Takes ownership; gives the plain pointer back, valid as long as the environment.
  template <class T>
  T* Own(std::unique_ptr<T> resource) {
    T* pointer = resource.get();
    resources_.push_back(std::move(resource));
    return pointer;
  }

  // Around each uv handle: after its successful uv_*_init, and in its uv_close callback.
  void HandleOpened() { open_handles_++; }
  void HandleClosed();

 private:
  static void OnCleanup(napi_async_cleanup_hook_handle handle, void* addon);
  void FinishCleanup();

  uv_loop_t* loop_ = nullptr;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  bool is_cleaning_ = false;
  uint32_t open_handles_ = 0;
  std::vector<std::unique_ptr<Resource>> resources_;
};

// Each part adds its functions to the exports object (src/reactor/reactor.ts, interface Native).
void RegisterReactor(Napi::Env env, Napi::Object exports);   // reactor_binding.cc: createReactor, adopt
void RegisterDoorbell(Napi::Env env, Napi::Object exports);  // doorbell_binding.cc: createDoorbell, ring
void RegisterFront(Napi::Env env, Napi::Object exports);     // front_binding.cc: createFront
void RegisterProcess(Napi::Env env, Napi::Object exports);      // process_binding.cc: crc32c, lock, unlock, openssl (throws on a version mismatch)

}  // namespace penstock

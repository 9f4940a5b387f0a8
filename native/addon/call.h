// A JavaScript function that is called from a libuv callback (no JavaScript on the stack).
// Thread safety: the environment's thread alone. Microtasks and nextTicks run after each call, as after any of Node's own callbacks.
// What it throws becomes an uncaught exception of the environment: a worker ends with 'error', and the supervisor restarts it.
#pragma once
#include <napi.h>

#include <cstdint>

namespace penstock {

class LoopCallback {
 public:
  LoopCallback(Napi::Env env, Napi::Function function, const char* name);
  ~LoopCallback();
  LoopCallback(const LoopCallback&) = delete;
  LoopCallback& operator=(const LoopCallback&) = delete;

  // False when it threw, or when the environment is ending and JavaScript cannot run.
  bool Call() { return Invoke(nullptr); }
  // The same; the function's return value as a u32 (0 when it is no number).
  [[nodiscard]] bool Call(uint32_t& result) { return Invoke(&result); }

 private:
  bool Invoke(uint32_t* result);

  napi_env env_;
  napi_ref function_ = nullptr;
  napi_ref receiver_ = nullptr;
  napi_async_context context_ = nullptr;
};

}  // namespace penstock

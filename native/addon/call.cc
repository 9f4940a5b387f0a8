#include "call.h"

namespace penstock {

LoopCallback::LoopCallback(Napi::Env env, Napi::Function function, const char* name) : env_(env) {
  napi_create_reference(env, function, 1, &function_);
  Napi::Object receiver = Napi::Object::New(env);
  napi_create_reference(env, receiver, 1, &receiver_);
  napi_async_init(env, receiver, Napi::String::New(env, name), &context_);
}

LoopCallback::~LoopCallback() {
  if (context_ != nullptr) napi_async_destroy(env_, context_);
  if (receiver_ != nullptr) napi_delete_reference(env_, receiver_);
  if (function_ != nullptr) napi_delete_reference(env_, function_);
}

bool LoopCallback::Invoke(uint32_t* result) {
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return false;
  napi_value function = nullptr;
  napi_value receiver = nullptr;
  napi_value returned = nullptr;
  napi_get_reference_value(env_, function_, &function);
  napi_get_reference_value(env_, receiver_, &receiver);
  const napi_status status = napi_make_callback(env_, context_, receiver, function, 0, nullptr, &returned);
  bool is_ok = status == napi_ok;
  if (is_ok && result != nullptr && napi_get_value_uint32(env_, returned, result) != napi_ok) *result = 0;
  bool is_pending = false;
  if (!is_ok && napi_is_exception_pending(env_, &is_pending) == napi_ok && is_pending) {
    napi_value error = nullptr;
    napi_get_and_clear_last_exception(env_, &error);
    napi_fatal_exception(env_, error);
  }
  napi_close_handle_scope(env_, scope);
  return is_ok;
}

}  // namespace penstock

// crc32c, lock, unlock, endProcess, openssl, and the check at load time that OpenSSL is the one the addon was built for.
#include <openssl/crypto.h>
#include <openssl/opensslv.h>

#include <unistd.h>

#include <mutex>

#include "addon.h"
#include "crc32c.h"
#include "lock.h"
#include "tls_context.h"

namespace penstock {
namespace {

// One data directory per process, whichever thread asks.
struct ProcessLock {
  std::mutex mutex;
  DirectoryLock lock;
};

ProcessLock& TheLock() {
  static ProcessLock lock;
  return lock;
}

// Raw Node-API: it is called once per frame of the journal.
napi_value CallCrc32c(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value arguments[3] = {};
  napi_typedarray_type type = napi_int8_array;
  size_t size = 0;
  void* bytes = nullptr;
  uint32_t at = 0;
  uint32_t length = 0;
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  const bool is_typed = count == 3 && napi_get_typedarray_info(env, arguments[0], &type, &size, &bytes, nullptr, nullptr) == napi_ok &&
                        type == napi_uint8_array && napi_get_value_uint32(env, arguments[1], &at) == napi_ok &&
                        napi_get_value_uint32(env, arguments[2], &length) == napi_ok;
  if (!is_typed || at > size || length > size - at) {
    napi_throw_range_error(env, nullptr, "crc32c takes a Uint8Array, and an offset and a length inside it");
    return nullptr;
  }
  napi_value result = nullptr;
  napi_create_uint32(env, Crc32c({static_cast<const uint8_t*>(bytes) + at, length}), &result);
  return result;
}

Napi::Value CallLock(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info.Length() < 1 || !info[0].IsString()) {
    Napi::TypeError::New(env, "lock takes a path").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  const std::lock_guard guard(TheLock().mutex);
  std::string error;
  const DirectoryLock::Result result = TheLock().lock.Take(path, error);
  if (result == DirectoryLock::Result::kFailed) Napi::Error::New(env, "the lock " + path + " cannot be taken: " + error).ThrowAsJavaScriptException();
  return Napi::Boolean::New(env, result == DirectoryLock::Result::kTaken);
}

void CallUnlock(const Napi::CallbackInfo&) {
  const std::lock_guard guard(TheLock().mutex);
  TheLock().lock.Release();
}

// process.exit waits for every thread; one that hangs in a system call or a query would keep the process for ever.
void CallEndProcess(const Napi::CallbackInfo& info) {
  const int code = info.Length() == 1 && info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : 1;
  _exit(code);
}

}  // namespace

void RegisterProcess(Napi::Env env, Napi::Object exports) {
  const std::string mismatch = OpenSslMismatch(OPENSSL_VERSION_NUMBER, OpenSSL_version_num());
  if (!mismatch.empty()) {
    Napi::Error::New(env, mismatch).ThrowAsJavaScriptException();
    return;
  }
  napi_value crc32c = nullptr;
  napi_create_function(env, "crc32c", NAPI_AUTO_LENGTH, CallCrc32c, nullptr, &crc32c);
  exports.Set("crc32c", Napi::Value(env, crc32c));
  exports.Set("lock", Napi::Function::New(env, CallLock, "lock"));
  exports.Set("unlock", Napi::Function::New(env, CallUnlock, "unlock"));
  exports.Set("endProcess", Napi::Function::New(env, CallEndProcess, "endProcess"));
  exports.Set("openssl", Napi::String::New(env, OpenSSL_version(OPENSSL_VERSION_STRING)));
}

}  // namespace penstock

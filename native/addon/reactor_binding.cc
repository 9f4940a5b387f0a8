// createReactor and adopt (src/reactor/reactor.ts Reactor): the reactor's face to JavaScript and libuv.
#include "addon.h"

namespace penstock {

void RegisterReactor(Napi::Env, Napi::Object) {}

}  // namespace penstock

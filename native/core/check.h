// CHECK states what only a bug of ours can break; it stays on in release and ends the process (style: errors, kind 1).
#pragma once
#include <cstdio>
#include <cstdlib>

#define CHECK(fact)                                                                \
  do {                                                                             \
    if (!(fact)) [[unlikely]] {                                                    \
      std::fprintf(stderr, "CHECK failed at %s:%d: %s\n", __FILE__, __LINE__, #fact); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)

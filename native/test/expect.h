// What the native tests check with: stays on in every build, names the place, ends the program.
#pragma once
#include <cstdio>
#include <cstdlib>

#define EXPECT(fact)                                                             \
  do {                                                                           \
    if (!(fact)) {                                                               \
      std::fprintf(stderr, "%s:%d: expected: %s\n", __FILE__, __LINE__, #fact); \
      std::_Exit(1);                                                             \
    }                                                                            \
  } while (false)

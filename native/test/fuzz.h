// What a fuzz target consists of: LLVMFuzzerTestOneInput, and Seeds(), the corpus it starts from. write_seeds.cc, linked with the same
// file, writes the seeds to disk; nothing binary is kept in the repository.
// A target says FUZZ_EXPECT of what must hold for every input; a false one ends the fuzzer with the input saved.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

std::vector<std::vector<uint8_t>> Seeds();

#define FUZZ_EXPECT(fact)                                                        \
  do {                                                                           \
    if (!(fact)) {                                                               \
      std::fprintf(stderr, "%s:%d: expected: %s\n", __FILE__, __LINE__, #fact); \
      std::abort();                                                              \
    }                                                                            \
  } while (false)

// Writes a fuzz target's seeds: write_seeds DIRECTORY
#include <filesystem>
#include <fstream>

#include "fuzz.h"

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const std::filesystem::path directory(arguments[1]);
  std::filesystem::create_directories(directory);
  size_t index = 0;
  for (const std::vector<uint8_t>& seed : Seeds()) {
    std::ofstream file(directory / std::to_string(index++), std::ios::binary);
    file.write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
    if (!file.good()) return 1;
  }
  return index == 0 ? 1 : 0;
}

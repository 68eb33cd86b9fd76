// Says for each file on standard input (u32 length, bytes) whether our reader accepts it: one line "1" or "0 reason".
// Built and run by safetensors_diff.py.

#include <cstdint>
#include <iostream>
#include <string>

#include "core/base/error.h"
#include "core/io/bytes.h"
#include "core/io/safetensors.h"

int main() {
  std::uint32_t length = 0;
  while (std::cin.read(reinterpret_cast<char*>(&length), sizeof length)) {
    std::string file(length, '\0');
    std::cin.read(file.data(), length);
    thaw::TensorViews tensors;
    thaw::StringMap metadata;
    try {
      thaw::parse_safetensors(thaw::bytes_of(file), "f", tensors, metadata);
      std::cout << "1\n";
    } catch (const thaw::DataError& error) {
      std::cout << "0 " << error.what() << "\n";
    }
  }
}

// Counts the memory that readers take, so that "bounded" is measured.
// The counters are per thread, and the tests read on one.

#include <cstdlib>
#include <new>

#include <malloc.h>

#include "tests/io/scratch.h"

namespace {

thread_local std::size_t held = 0, peak = 0, start = 0;

void* take(std::size_t size) {
  void* memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc();
  held += malloc_usable_size(memory);
  if (held > peak) peak = held;
  return memory;
}

void drop(void* memory) {
  if (memory == nullptr) return;
  held -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) {
  return take(size);
}
void* operator new[](std::size_t size) {
  return take(size);
}
// AddressSanitizer has its own of these, and pairs them with its own delete.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return take(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return take(size);
}
void operator delete(void* memory) noexcept {
  drop(memory);
}
void operator delete[](void* memory) noexcept {
  drop(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  drop(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  drop(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  drop(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  drop(memory);
}

namespace thaw::testing {

void reset_peak() {
  start = peak = held;
}

std::size_t peak_bytes() {
  return peak - start;
}

}  // namespace thaw::testing

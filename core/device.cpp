#include "core/device.h"

#include <dlfcn.h>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <fstream>
#include <new>
#include <string_view>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

namespace {

std::string open_cuda() {
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) == nullptr)
    return "no NVIDIA driver (libcuda.so.1) on this machine";
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr)
    return concat("libtorch's CUDA part cannot be opened: ", dlerror());
  return "";
}

std::string& problem() {
  static std::string text = "init_devices was not called";
  return text;
}

}  // namespace

void init_devices() {
  static const bool is_done = [] {
    problem() = open_cuda();
    if (problem().empty() && !at::hasCUDA())
      problem() = "the driver offers no usable CUDA 13 device (a driver of version 580 or newer is needed)";
    return true;
  }();
  static_cast<void>(is_done);
}

const std::string& cuda_problem() {
  return problem();
}

c10::Device device_from_name(const std::string& name) {
  init_devices();
  if (name == "auto") return problem().empty() ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
  if (name == "cpu") return c10::Device(c10::kCPU);
  if (name != "cuda" && !name.starts_with("cuda:"))
    throw ConfigError(concat("device: unknown device \"", name, "\". Known: auto, cpu, cuda, cuda:0 ..."));
  if (!problem().empty()) throw ResourceError(concat("device: ", name, ": ", problem(), ". Use device=cpu."));
  const c10::Device device(name);
  return device.has_index() ? device : c10::Device(c10::kCUDA, 0);
}

std::string describe_device(const c10::Device& device) {
  if (device.is_cuda()) return device.str();
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name"))
      return concat("cpu: ", line.substr(line.find(':') + 2), ", ", at::get_num_threads(), " threads");
  return concat("cpu, ", at::get_num_threads(), " threads");
}

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) || dynamic_cast<const std::bad_alloc*>(&error)) return true;
  if (dynamic_cast<const Error*>(&error)) return false;
  // The CPU's allocator and the CUDA libraries throw plain errors, known by their text alone.
  const std::string_view text = error.what();
  for (const char* sign : {"can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED"})
    if (text.find(sign) != std::string_view::npos) return true;
  return false;
}

}  // namespace thaw

#pragma once
// Which device there is. CUDA is found at run time: the program links the CPU libraries alone.

#include <exception>
#include <string>

#include <c10/core/Device.h>

namespace thaw {

/// Must run before any ATen call: one question for CUDA before its library is open freezes the answer "no" for the
/// process. Opens libtorch_cuda.so where a driver is. Idempotent.
void init_devices();

/// Why CUDA is not used, or an empty string when it is.
const std::string& cuda_problem();

/// "auto", "cpu", "cuda", "cuda:1". Throws ConfigError when a CUDA device is named and there is none.
c10::Device device_from_name(const std::string& name);

/// "cpu: AMD EPYC 9654, 2 threads" or "cuda:0".
std::string describe_device(const c10::Device& device);

/// True for what allocators, on any device, and the libraries behind libtorch throw when memory runs out.
bool is_out_of_memory(const std::exception& error);

}  // namespace thaw

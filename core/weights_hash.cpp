#include "core/weights_hash.h"

#include <ATen/ATen.h>

#include "core/base/text.h"

namespace thaw {

std::string hash_of_tensor(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.detach().cpu().contiguous();
  return content_hash({static_cast<const char*>(dense.data_ptr()), dense.nbytes()});
}

std::string hash_of_weights(const NamedTensors& weights) {
  std::string text;
  for (const auto& [name, tensor] : weights) text += concat(name, " ", hash_of_tensor(tensor), "\n");
  return content_hash(text);
}

}  // namespace thaw

#include "core/nn/streaming.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <c10/util/intrusive_ptr.h>

namespace thaw::nn {

namespace {

struct Target {
  c10::Device device{at::kCPU};
  c10::ScalarType type = at::kFloat;
  StreamedBytes* count = nullptr;
  std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>> alive{};  // copies, where they are counted

  c10::ScalarType type_of(const at::Tensor& weight) const {
    return weight.is_floating_point() ? type : weight.scalar_type();
  }

  void note(const at::Tensor& weight, const at::Tensor& copy) {
    count->weights.push_back(weight.const_data_ptr());
    if (copy.is_same(weight)) return;
    std::erase_if(alive, [](const auto& one) { return one.expired(); });
    alive.emplace_back(copy.storage().getWeakStorageImpl());
    std::size_t bytes = 0;
    for (const auto& one : alive)
      if (const auto storage = one.lock()) bytes += storage->nbytes();
    count->copied += copy.nbytes();
    count->largest = std::max(count->largest, copy.nbytes());
    count->peak = std::max(count->peak, bytes);
  }
};

thread_local Target* current = nullptr;

class Streamed : public Backbone {
 public:
  Streamed(std::unique_ptr<Backbone> network, c10::Device device, c10::ScalarType type, StreamedBytes* count)
      : network_(std::move(network)), device_(device), type_(type), count_(count) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    const Streaming streaming(device_, type_, count_);
    return network_->forward(x, noise, condition);
  }
  const Parameters& parameters() const override { return network_->parameters(); }
  bool learns_variance() const override { return network_->learns_variance(); }
  bool takes_target() const override { return network_->takes_target(); }
  bool takes_guidance() const override { return network_->takes_guidance(); }
  std::vector<std::string> takes_numbers() const override { return network_->takes_numbers(); }
  bool takes_estimate() const override { return network_->takes_estimate(); }
  std::int64_t coarse_factor() const override { return network_->coarse_factor(); }
  std::int64_t attention_layers() const override { return network_->attention_layers(); }
  DataSpec own_spec() const override { return network_->own_spec(); }

 private:
  std::unique_ptr<Backbone> network_;
  c10::Device device_;
  c10::ScalarType type_;
  StreamedBytes* count_;
};

}  // namespace

struct Streaming::State {
  Target target;
  Target* outer;
};

Streaming::Streaming(c10::Device device, c10::ScalarType type, StreamedBytes* count)
    : state_(std::make_unique<State>(State{{device, type, count}, current})) {
  current = &state_->target;
}
Streaming::~Streaming() {
  current = state_->outer;
}

at::Tensor here(const at::Tensor& weight) {
  if (current == nullptr || !weight.defined()) return weight;
  at::Tensor copy = weight.to(current->device, current->type_of(weight));
  if (current->count != nullptr) current->note(weight, copy);
  return copy;
}

c10::ScalarType type_here(const at::Tensor& weight) {
  return current == nullptr ? weight.scalar_type() : current->type_of(weight);
}

std::unique_ptr<Backbone> streamed(std::unique_ptr<Backbone> network, c10::Device device, c10::ScalarType type,
                                   StreamedBytes* count) {
  return std::make_unique<Streamed>(std::move(network), device, type, count);
}

}  // namespace thaw::nn

#include "core/dataset.h"

#include <cstdio>
#include <numeric>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/math/philox.h"

namespace thaw {

std::unique_ptr<SampleAppender> Codec::appender(const std::filesystem::path&, const std::string&, std::int64_t) const {
  throw ConfigError("codec: this one writes whole samples; none is written part by part.");
}

at::Tensor Codec::read(const std::filesystem::path& path, const std::vector<std::int64_t>&) const {
  throw ConfigError(concat("codec: this one reads no files of its own: ", path.string(), "; use .npz."));
}

std::vector<std::string> Codec::write_shown(const at::Tensor& raw_N, std::int64_t columns,
                                            const std::filesystem::path& folder, const std::string& stem) const {
  write_file(folder / (stem + ".png"), sheet_png(raw_N, columns));
  return {stem + ".png"};
}

namespace {

template <class Item, class Get>
Batch stacked(const std::vector<Item>& items, const Get& get) {
  std::vector<at::Tensor> data;
  std::map<std::string, std::vector<at::Tensor>> conditions;
  for (const Item& item : items) {
    Example example = get(item);
    data.push_back(std::move(example.data));
    for (auto& [name, tensor] : example.condition) conditions[name].push_back(std::move(tensor));
  }
  Batch batch{at::stack(data), {}, 0};
  for (const auto& [name, tensors] : conditions) batch.condition[name] = at::stack(tensors);
  return batch;
}

}  // namespace

Batch gather(const Dataset& dataset, const std::vector<std::int64_t>& indices) {
  return stacked(indices, [&](std::int64_t index) { return dataset.get(index); });
}

void report_problems(const Dataset& dataset, std::size_t known, const std::filesystem::path& file) {
  const std::vector<std::string> problems = dataset.problems();
  if (problems.size() <= known) return;
  std::string where;
  if (!file.empty()) {
    write_file(file, join(problems, "\n") + "\n");
    where = concat(", all in ", file.string());
  }
  std::fprintf(stderr, "dataset: %zu bad, left out or replaced%s; the first: %s\n", problems.size(), where.c_str(),
               problems.front().c_str());
}

Loader::Loader(DatasetPtr dataset, std::uint64_t seed, std::int64_t batch)
    : dataset_(std::move(dataset)), seed_(seed), batch_(batch) {
  if (dataset_->size() == 0) throw DataError("dataset: holds no examples.");
}

const std::vector<std::int32_t>& Loader::order(std::uint64_t epoch) const {
  Epoch& kept = epochs_[epoch % 2];
  if (kept.number != epoch) {
    kept.number = epoch;
    kept.order.resize(static_cast<std::size_t>(dataset_->size()));
    std::iota(kept.order.begin(), kept.order.end(), 0);
    const NoiseKey key{seed_, Purpose::kShuffle, epoch, 0, 0};
    for (std::size_t i = kept.order.size() - 1; i > 0; --i)  // Fisher and Yates
      std::swap(kept.order[i], kept.order[uniform_integer(key, i, i + 1)]);
  }
  return kept.order;
}

std::vector<Pick> Loader::picks(std::uint64_t step) const {
  std::vector<Pick> result;
  const auto size = static_cast<std::uint64_t>(dataset_->size());
  for (std::int64_t i = 0; i < batch_; ++i) {
    const std::uint64_t position = step * static_cast<std::uint64_t>(batch_) + static_cast<std::uint64_t>(i);
    result.push_back({order(position / size)[position % size], position / size});
  }
  return result;
}

Batch Loader::make(std::uint64_t step, const std::vector<Pick>& picks) const {
  Batch result = stacked(picks, [&](const Pick& pick) { return dataset_->get_in_epoch(pick.index, pick.epoch); });
  result.first_sample = step * static_cast<std::uint64_t>(batch_);
  return result;
}

}  // namespace thaw

#pragma once
// Sets of samples that came from anywhere: runs, .npz files, folders of files.

#include <filesystem>
#include <string>
#include <vector>

#include "core/dataset.h"

namespace thaw {

struct SampleSet {
  at::Tensor raw;                      // uint8 or float [n, channels, ...]
  std::vector<std::int64_t> labels{};  // asked for; empty: none known
  std::string hash;                    // of the numbers in `raw`
  std::int64_t rate_hz = 0;            // of sounds out of files; 0: not known
};

/// A .npz as `thaw sample` writes it, a run folder, or a folder of clouds, videos, pictures or sounds (in the order of
/// their names, all of one size, length and rate). At most `n` samples; 0: all, within 8 GB. Throws DataError where
/// there is none or they differ in shape.
SampleSet read_sample_set(const std::filesystem::path& path, std::int64_t n);

/// The set as a dataset.
DatasetPtr dataset_of(SampleSet set);

}  // namespace thaw

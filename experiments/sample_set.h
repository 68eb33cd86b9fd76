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
  std::vector<std::string> folders{};  // one a sample: that below the set's own which its file lies in
  std::string hash{};                  // of the numbers in `raw`
  std::int64_t rate_hz = 0;            // of sounds out of files; 0: not known
};

/// A .npz as `thaw sample` writes it, a run folder, or a folder of clouds, videos, pictures or sounds (in the order of
/// their names, all of one size and rate, and of one length, which sounds are cut to or followed by silence up to where
/// `length` is not 0). At most `n` samples; 0: all, within 8 GB. Throws DataError where there is none or they differ in
/// shape.
SampleSet read_sample_set(const std::filesystem::path& path, std::int64_t n, std::int64_t length = 0);

/// Labels of samples that lie in a folder for each class: by the names of classes, or, where these are none, by the
/// order of the folders' names, as datasets count them. Throws DataError for a folder of no class, and where they are
/// not as many as `num_classes`.
std::vector<std::int64_t> labels_of_folders(const std::vector<std::string>& folders, std::int64_t num_classes,
                                            const std::vector<std::string>& class_names);

/// The set as a dataset.
DatasetPtr dataset_of(SampleSet set);

}  // namespace thaw

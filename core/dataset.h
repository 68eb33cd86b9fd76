#pragma once
// Where examples come from, how they become tensors, and in which order they are seen.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/backbone.h"
#include "core/precision.h"
#include "core/prompt_checker.h"

namespace thaw {

struct Example {
  at::Tensor data;        // raw, as the codec takes it
  Condition condition{};  // without the batch dimension: "label" is a 0-rank int64
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const = 0;
  /// A pure function of the index, thread-safe.
  virtual Example get(std::int64_t index) const = 0;
  /// As this epoch sees it: what is cut at random is cut by (seed, index, epoch). get(index) is that of epoch 0.
  virtual Example get_in_epoch(std::int64_t index, std::uint64_t /*epoch*/) const { return get(index); }
  /// The condition alone, where the data is kept elsewhere.
  virtual Condition condition(std::int64_t index) const { return get(index).condition; }
  virtual std::int64_t num_classes() const { return 0; }
  /// What people call its classes, num_classes() names; none: they are numbers alone.
  virtual std::vector<std::string> class_names() const { return {}; }
  /// Holds such samples against their captions; null where nothing can.
  virtual PromptCheckerPtr prompt_checker() const { return nullptr; }
  /// What the examples are read from: a finished stage whose data has changed since is done again.
  virtual std::vector<std::filesystem::path> files() const { return {}; }
  /// Examples that could not be read so far, a line each (see BadData).
  virtual std::vector<std::string> problems() const { return {}; }
};
using DatasetPtr = std::shared_ptr<const Dataset>;
using DatasetRegistry = Registry<DatasetPtr>;

/// Tells on stderr, in one line, of the dataset's problems where there are more than `known`, and writes them all into
/// the file (none: tells only).
void report_problems(const Dataset& dataset, std::size_t known, const std::filesystem::path& file = {});

/// A raw sample that is written as it comes, in parts along the first dimension behind the channels. What is there
/// appears, or is whole, once `finish` was called.
class SampleAppender {
 public:
  virtual ~SampleAppender() = default;
  virtual void append(const at::Tensor& raw) = 0;  // [C, K, ...]
  virtual void finish() = 0;
};

/// Raw data <-> what the network works on. decode(encode(raw)) == raw within the codec's stated tolerance.
class Codec {
 public:
  virtual ~Codec() = default;
  virtual at::Tensor encode(const at::Tensor& raw_N) const = 0;
  virtual at::Tensor decode(const at::Tensor& x_N) const = 0;
  /// Shape of an encoded sample, of raw samples of this shape. Throws DataError for shapes it cannot take.
  virtual std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const = 0;
  /// Throws ConfigError for data whose examples are not what this codec's options say of them.
  virtual void expect_data(const Dataset&) const {}
  /// Width of the bin an encoded value stands for, its value in the middle; 0: data are continuous.
  virtual double bin() const { return 0.0; }
  /// What it is read from, beside its options.
  virtual std::vector<std::filesystem::path> files() const { return {}; }
  /// True when encoding costs as much as a network's pass: worth keeping on disk.
  virtual bool is_costly() const { return false; }
  /// The raw samples laid out for people, `columns` a row, as one PNG.
  virtual std::string sheet_png(const at::Tensor& raw_N, std::int64_t columns) const = 0;
  /// Writes what a page shows of raw samples into the folder, under names that begin with `stem`, and returns the
  /// names: here the sheet; of what plays, something that plays.
  virtual std::vector<std::string> write_shown(const at::Tensor& raw_N, std::int64_t columns,
                                               const std::filesystem::path& folder, const std::string& stem) const;
  /// True where a page shows states under way as it shows samples, not by their sheet: things that turn.
  virtual bool shows_states() const { return false; }
  /// Writes each raw sample into the folder as <stem>_<first + i>.<suffix>.
  virtual void write(const at::Tensor& raw_N, const std::filesystem::path& folder, const std::string& stem,
                     std::int64_t first) const = 0;
  /// The same, one sample in parts. Throws ConfigError where samples are written whole alone.
  virtual std::unique_ptr<SampleAppender> appender(const std::filesystem::path& folder, const std::string& stem,
                                                   std::int64_t index) const;
  /// A raw sample of a file or folder of a person's own, brought to `raw_shape` in all but the first dimension behind
  /// the channels, of which there are at most as many. Throws ConfigError where this codec reads none.
  virtual at::Tensor read(const std::filesystem::path& path, const std::vector<std::int64_t>& raw_shape) const;
};
using CodecPtr = std::shared_ptr<const Codec>;

class Autoencoder;

/// What a codec may open: an autoencoder, where it computes, and the codec between raw data and what it takes.
struct OpenedAutoencoder {
  std::shared_ptr<const Autoencoder> autoencoder;  // null: there is a model, and it is no autoencoder
  CodecPtr codec;
  std::vector<std::filesystem::path> files{};
  c10::Device device{c10::kCPU};
  Precision precision = Precision::kFloat32;
};
/// A model that draws samples of what it is told of them (core/told_of_sample.h): a way back that a codec may take.
struct OpenedTold {
  std::vector<std::int64_t> raw_shape;                         // of its data
  std::function<at::Tensor(const at::Tensor& raw_N)> told_of;  // [N, ...]
  /// Raw samples [N, ...] of told [N, ...], `positions` long in the first dimension behind the channels. A sample is a
  /// function of what is told of it alone, whatever is drawn beside it.
  std::function<at::Tensor(const at::Tensor& told_N, std::int64_t positions)> draw;
  std::vector<std::filesystem::path> files;
};
struct CodecParts {
  std::function<OpenedAutoencoder(const std::string& path)> open_autoencoder{};
  std::function<OpenedTold(const std::string& path)> open_told{};  // throws DataError for a model told nothing
};
using CodecRegistry = Registry<CodecPtr, const CodecParts&>;

struct Batch {
  at::Tensor data;                 // raw, [N, ...]
  Condition condition{};           // [N, ...]
  std::uint64_t first_sample = 0;  // position of its first example in the whole training
};

/// The examples at `indices`, stacked.
Batch gather(const Dataset& dataset, const std::vector<std::int64_t>& indices);

/// An example, and the epoch that sees it.
struct Pick {
  std::int64_t index = 0;
  std::uint64_t epoch = 0;
};

/// Batch k as a function of (seed, k): each epoch is a permutation of its own, batches run across epochs' ends.
class Loader {
 public:
  /// Throws DataError when the dataset is empty.
  Loader(DatasetPtr dataset, std::uint64_t seed, std::int64_t batch);
  std::vector<Pick> picks(std::uint64_t step) const;
  /// The batch of picks(step). Thread-safe, which picks() is not.
  Batch make(std::uint64_t step, const std::vector<Pick>& picks) const;
  Batch batch(std::uint64_t step) const { return make(step, picks(step)); }

 private:
  const std::vector<std::int32_t>& order(std::uint64_t epoch) const;

  DatasetPtr dataset_;
  std::uint64_t seed_;
  std::int64_t batch_;
  struct Epoch {
    std::uint64_t number = ~std::uint64_t{0};
    std::vector<std::int32_t> order{};
  };
  mutable Epoch epochs_[2];  // a batch may touch two
};

}  // namespace thaw

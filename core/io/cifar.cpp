#include "core/io/cifar.h"

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"

namespace thaw {

CifarBatch read_cifar10_batch(const std::filesystem::path& path) {
  constexpr std::size_t kRecord = 1 + CifarBatch::kPixels;
  const std::string file = read_file(path);
  if (file.empty() || file.size() % kRecord != 0)
    throw DataError(concat(path.string(), ": expected records of ", kRecord, " bytes, found ", file.size(), " bytes (",
                           file.size() % kRecord,
                           " left over): this is not a CIFAR-10 binary batch, or it is cut off"));
  const std::size_t count = file.size() / kRecord;
  CifarBatch batch;
  batch.labels.reserve(count);
  batch.pixels_NCHW.reserve(count * CifarBatch::kPixels);
  for (std::size_t i = 0; i < count; ++i) {
    const auto* record = reinterpret_cast<const std::uint8_t*>(file.data()) + i * kRecord;
    if (record[0] >= CifarBatch::kClasses)
      throw DataError(concat(path.string(), ": record ", i, ": label ", int{record[0]}, ", allowed are 0 to 9"));
    batch.labels.push_back(record[0]);
    batch.pixels_NCHW.insert(batch.pixels_NCHW.end(), record + 1, record + kRecord);
  }
  return batch;
}

}  // namespace thaw

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Many samples, found by index: in memory, or in a file that is mapped and never held whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "corda/core/file.h"
#include "corda/core/sha256.h"
#include "corda/data/sample.h"

namespace corda::data {

class SampleStore {
 public:
  SampleStore() = default;

  std::int64_t size() const {
    return index_.empty() ? 0 : static_cast<std::int64_t>(index_.size()) - 1;
  }
  bool empty() const { return size() == 0; }
  // A copy of sample `index`. Throws FormatError where the file has been damaged.
  Sample operator[](std::int64_t index) const;
  Sample at(std::int64_t index) const;  // throws ConfigError outside [0, size)
  // SHA-256 of every sample's ids and loss mask.
  const std::string& fingerprint() const { return fingerprint_; }
  // What the writer was given beside the samples.
  const std::string& notes() const { return notes_; }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Sample;
    using difference_type = std::ptrdiff_t;
    using pointer = const Sample*;
    using reference = Sample;

    Iterator(const SampleStore& store, std::int64_t index) : store_(&store), index_(index) {}
    Sample operator*() const { return (*store_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    const SampleStore* store_;
    std::int64_t index_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

  // Opens a file that SampleWriter has finished; the samples stay on disk. Throws IoError and
  // FormatError.
  static SampleStore open(const fs::path& path);

 private:
  friend class SampleWriter;

  std::span<const std::byte> bytes_;
  std::span<const std::int64_t> index_;  // where each sample begins, and the end of the last
  std::shared_ptr<const void> owner_;    // of both
  std::string fingerprint_;
  std::string notes_;
};

// Takes samples one after the other. File layout (little-endian): "CORDADS1"; for each sample its
// count n (int32), n ids (int32), n mask bytes, zeros up to a multiple of 4; then at a multiple of
// 8 the index (int64 a sample, and the end), the notes, the fingerprint (64 digits), and 32 bytes:
// samples, begin of the index, size of the notes (int64 each), "CORDAEND".
class SampleWriter {
 public:
  // Writes to memory or, with `path`, to a file beside it that finish() renames to it, so that it
  // is never seen unfinished. Several processes may write the same path. Removes what killed
  // writers of it left behind.
  explicit SampleWriter(std::optional<fs::path> path = std::nullopt);
  SampleWriter(const SampleWriter&) = delete;
  SampleWriter& operator=(const SampleWriter&) = delete;
  ~SampleWriter();

  // Throw ResourceError where the file cannot be written; nothing of it is left then.
  void add(const Sample& sample);
  SampleStore finish(const std::string& notes);

 private:
  void write(const void* data, std::size_t size);

  std::optional<fs::path> path_;
  fs::path temporary_;  // empty once it has its name
  int lock_ = -1;       // on the temporary file, while it is written
  std::ofstream file_;
  std::vector<std::byte> memory_;
  std::vector<std::int64_t> index_;
  std::int64_t written_ = 0;
  core::Sha256 hash_;
};

}  // namespace corda::data

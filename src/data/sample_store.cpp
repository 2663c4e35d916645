// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/sample_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <utility>

#include "corda/core/checked.h"
#include "corda/core/error.h"
#include "core/unfinished_file.h"

namespace corda::data {

using core::concat;

static_assert(std::endian::native == std::endian::little);

namespace {

constexpr std::string_view kMagic = "CORDADS1";
constexpr std::string_view kEnd = "CORDAEND";
constexpr std::size_t kDigits = 64;

struct Trailer {
  std::int64_t samples = 0;
  std::int64_t index_begin = 0;
  std::int64_t notes_size = 0;
  std::array<char, 8> magic = {};
};
static_assert(sizeof(Trailer) == 32);

// A new file beside `path`, of a name that no other process has, and a lock on it. Process numbers
// would not do: containers that share a directory have the same.
std::pair<fs::path, int> create_locked(const fs::path& path) {
  while (true) {
    std::string name = concat(path.string(), core::kUnfinished, "XXXXXX");
    const int file = ::mkostemp(name.data(), O_CLOEXEC);
    if (file < 0) core::throw_output_error("create", path, errno);
    struct stat status = {};
    // Another process may have found it before it was locked, and removes it: either it has the
    // lock still, or the file has no name any more. Where the file system has no locks there is
    // none.
    const bool found = ::flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!found && ::fstat(file, &status) == 0 && status.st_nlink > 0) {
      ::fchmod(file, 0644);
      return {name, file};
    }
    ::close(file);
  }
}

// Removes the unfinished files of `path` whose writer has ended.
void remove_abandoned(const fs::path& path) {
  const std::string name = path.filename().string();
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path.parent_path(), ignored)) {
    if (!core::is_unfinished(entry.path(), name)) continue;
    const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    if (::flock(file, LOCK_EX | LOCK_NB) == 0) fs::remove(entry.path(), ignored);
    ::close(file);
  }
}

// What an in-memory store points into.
struct Memory {
  std::vector<std::byte> bytes;
  std::vector<std::int64_t> index;
};

}  // namespace

Sample SampleStore::operator[](std::int64_t index) const {
  const std::int64_t begin = index_[static_cast<std::size_t>(index)];
  const std::int64_t end = index_[static_cast<std::size_t>(index) + 1];
  std::int32_t count = -1;
  const auto size = static_cast<std::int64_t>(bytes_.size());
  const bool sound = begin >= 0 && end <= size && end - begin >= 4;
  if (sound) std::memcpy(&count, bytes_.data() + begin, 4);
  if (count < 0 || 4 + 5 * std::int64_t{count} > end - begin) {
    throw core::FormatError(concat(
        "sample ", index, " of the tokenised data is damaged; remove the cache and start again"));
  }
  const auto n = static_cast<std::size_t>(count);
  Sample sample{.ids = std::vector<TokenId>(n), .supervised = std::vector<std::uint8_t>(n)};
  const std::byte* at = bytes_.data() + begin + 4;
  if (n > 0) {
    std::memcpy(sample.ids.data(), at, 4 * n);
    std::memcpy(sample.supervised.data(), at + 4 * n, n);
  }
  return sample;
}

Sample SampleStore::at(std::int64_t index) const {
  if (index < 0 || index >= size()) {
    throw core::ConfigError(
        concat("there is no sample ", index, ": there are ", size(), " samples"));
  }
  return (*this)[index];
}

SampleStore SampleStore::open(const fs::path& path) {
  const auto file = std::make_shared<core::MappedFile>(path);
  const auto bytes = file->bytes();
  const auto fail = [&] {
    throw core::FormatError(concat("'", path.string(), "' is no finished file of samples"));
  };
  if (bytes.size() < kMagic.size() + sizeof(Trailer) ||
      std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    fail();
  Trailer trailer;
  std::memcpy(&trailer, bytes.data() + bytes.size() - sizeof trailer, sizeof trailer);
  const auto size = static_cast<std::int64_t>(bytes.size() - sizeof trailer);
  if (std::string_view(trailer.magic.data(), trailer.magic.size()) != kEnd || trailer.samples < 0 ||
      trailer.index_begin < 8 || trailer.index_begin % 8 != 0 || trailer.notes_size < 0)
    fail();
  const std::int64_t index_bytes =
      core::checked_mul(core::checked_add(trailer.samples, 1, "samples"), 8, "samples");
  const std::int64_t notes_begin = core::checked_add(trailer.index_begin, index_bytes, "samples");
  const std::int64_t digits_begin = core::checked_add(notes_begin, trailer.notes_size, "samples");
  if (digits_begin != size - static_cast<std::int64_t>(kDigits)) fail();
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  SampleStore store;
  store.bytes_ = bytes.first(static_cast<std::size_t>(trailer.index_begin));
  store.index_ = {reinterpret_cast<const std::int64_t*>(bytes.data() + trailer.index_begin),
                  static_cast<std::size_t>(trailer.samples) + 1};
  store.notes_.assign(text + notes_begin, static_cast<std::size_t>(trailer.notes_size));
  store.fingerprint_.assign(text + digits_begin, kDigits);
  store.owner_ = file;
  return store;
}

SampleWriter::SampleWriter(std::optional<fs::path> path) : path_(std::move(path)) {
  if (path_) {
    remove_abandoned(*path_);
    std::tie(temporary_, lock_) = create_locked(*path_);
    file_.open(temporary_, std::ios::binary | std::ios::trunc);
    if (!file_) core::throw_output_error("create", temporary_, errno);
  }
  write(kMagic.data(), kMagic.size());
}

SampleWriter::~SampleWriter() {
  if (!temporary_.empty()) {
    file_.close();
    std::error_code ignored;
    fs::remove(temporary_, ignored);
  }
  if (lock_ >= 0) ::close(lock_);
}

void SampleWriter::write(const void* data, std::size_t size) {
  if (path_) {
    file_.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
    if (!file_) core::throw_output_error("write", temporary_, errno);
  } else {
    const auto* bytes = static_cast<const std::byte*>(data);
    memory_.insert(memory_.end(), bytes, bytes + size);
  }
  written_ += static_cast<std::int64_t>(size);
}

void SampleWriter::add(const Sample& sample) {
  index_.push_back(written_);
  hash_.update(std::as_bytes(std::span(sample.ids)));
  hash_.update(std::as_bytes(std::span(sample.supervised)));
  const auto count = core::narrow<std::int32_t>(sample.ids.size());
  constexpr std::array<char, 8> kZeros = {};
  write(&count, sizeof count);
  write(sample.ids.data(), 4 * sample.ids.size());
  write(sample.supervised.data(), sample.supervised.size());
  write(kZeros.data(), (4 - sample.supervised.size() % 4) % 4);
}

SampleStore SampleWriter::finish(const std::string& notes) {
  index_.push_back(written_);
  SampleStore store;
  if (!path_) {
    auto memory = std::make_shared<Memory>(Memory{std::move(memory_), std::move(index_)});
    store.bytes_ = memory->bytes;
    store.index_ = memory->index;
    store.owner_ = std::move(memory);
    store.fingerprint_ = hash_.hex_digest();
    store.notes_ = notes;
    return store;
  }
  constexpr std::array<char, 8> kZeros = {};
  write(kZeros.data(), static_cast<std::size_t>((8 - written_ % 8) % 8));
  Trailer trailer{.samples = static_cast<std::int64_t>(index_.size()) - 1,
                  .index_begin = written_,
                  .notes_size = static_cast<std::int64_t>(notes.size())};
  std::memcpy(trailer.magic.data(), kEnd.data(), kEnd.size());
  write(index_.data(), 8 * index_.size());
  write(notes.data(), notes.size());
  write(hash_.hex_digest().data(), kDigits);
  write(&trailer, sizeof trailer);
  file_.close();
  if (!file_) core::throw_output_error("write", temporary_, errno);
  core::sync_path(temporary_);
  std::error_code error;
  fs::rename(temporary_, *path_, error);
  if (error) core::throw_output_error("create", *path_, error.value());
  temporary_.clear();
  return SampleStore::open(*path_);
}

}  // namespace corda::data

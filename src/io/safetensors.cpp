// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/io/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "corda/core/checked.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "core/json.h"
#include "core/unfinished_file.h"

namespace corda::io {

using core::concat;
using core::FormatError;
using core::Json;

namespace {

constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr std::size_t kMaxRank = 16;

struct DTypeRow {
  DType dtype;
  const char* name;
  std::int64_t bytes;
};
constexpr std::array<DTypeRow, 12> kDTypes = {{{DType::kF64, "F64", 8},
                                               {DType::kF32, "F32", 4},
                                               {DType::kF16, "F16", 2},
                                               {DType::kBF16, "BF16", 2},
                                               {DType::kI64, "I64", 8},
                                               {DType::kI32, "I32", 4},
                                               {DType::kI16, "I16", 2},
                                               {DType::kI8, "I8", 1},
                                               {DType::kU8, "U8", 1},
                                               {DType::kBool, "BOOL", 1},
                                               {DType::kF8E4M3, "F8_E4M3", 1},
                                               {DType::kF8E5M2, "F8_E5M2", 1}}};

const DTypeRow& row(DType dtype) {
  return *std::find_if(kDTypes.begin(), kDTypes.end(),
                       [&](const DTypeRow& r) { return r.dtype == dtype; });
}

std::uint64_t little_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
  return value;
}

std::int64_t element_count(const std::vector<std::int64_t>& shape, const std::string& where) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count = core::checked_mul(count, extent, where.c_str());
  return count;
}

std::int64_t non_negative(const Json& value, const std::string& where) {
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) ||
      value.get<std::int64_t>() < 0) {
    throw FormatError(
        concat(where, ": a size must be a non-negative whole number; it is ", value.dump()));
  }
  return value.get<std::int64_t>();
}

TensorInfo parse_info(const Json& entry, const std::string& where) {
  TensorInfo info;
  const Json& dtype = core::require_key(entry, "dtype", where);
  const auto known = std::find_if(kDTypes.begin(), kDTypes.end(), [&](const DTypeRow& r) {
    return dtype.is_string() && dtype.get<std::string>() == r.name;
  });
  if (known == kDTypes.end()) throw FormatError(concat(where, ": unknown dtype ", dtype.dump()));
  info.dtype = known->dtype;
  const Json& shape = core::require_key(entry, "shape", where);
  if (!shape.is_array() || shape.size() > kMaxRank)
    throw FormatError(concat(where, ": malformed shape ", shape.dump()));
  for (const Json& extent : shape) info.shape.push_back(non_negative(extent, where));
  const Json& offsets = core::require_key(entry, "data_offsets", where);
  if (!offsets.is_array() || offsets.size() != 2)
    throw FormatError(concat(where, ": malformed data_offsets ", offsets.dump()));
  info.offset = non_negative(offsets[0], where);
  const std::int64_t end = non_negative(offsets[1], where);
  if (end < info.offset)
    throw FormatError(concat(where, ": data_offsets ", offsets.dump(), " run backwards"));
  info.bytes = end - info.offset;
  const std::int64_t expected =
      core::checked_mul(element_count(info.shape, where), known->bytes, where.c_str());
  if (expected != info.bytes) {
    throw FormatError(concat(where, ": ", known->name, " ", shape_string(info.shape), " needs ",
                             expected, " bytes, data_offsets give ", info.bytes));
  }
  return info;
}

void check_ranges(const std::map<std::string, TensorInfo>& tensors, std::int64_t data_bytes,
                  const std::string& file) {
  std::vector<std::pair<const TensorInfo*, const std::string*>> ordered;
  for (const auto& [name, info] : tensors) ordered.emplace_back(&info, &name);
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first->offset, a.first->bytes) < std::pair(b.first->offset, b.first->bytes);
  });
  std::int64_t previous_end = 0;
  for (const auto& [info, name] : ordered) {
    if (info->offset + info->bytes > data_bytes) {
      throw FormatError(concat("'", file, "': truncated: tensor '", *name, "' ends at byte ",
                               info->offset + info->bytes, " of the data, but the file holds only ",
                               data_bytes, "; download or copy it again"));
    }
    if (info->offset != previous_end) {
      throw FormatError(concat("'", file, "': tensor '", *name, "' begins at byte ", info->offset,
                               " of the data, expected ", previous_end,
                               " (tensors overlap or leave a hole)"));
    }
    previous_end = info->offset + info->bytes;
  }
  if (previous_end != data_bytes) {
    throw FormatError(concat("'", file, "': the tensors end at byte ", previous_end,
                             " of the data, but the file holds ", data_bytes));
  }
}

}  // namespace

std::int64_t size_of(DType dtype) { return row(dtype).bytes; }

bool is_floating(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 ||
         dtype == DType::kBF16;
}

std::string to_string(DType dtype) { return row(dtype).name; }

std::string shape_string(const std::vector<std::int64_t>& shape) {
  std::vector<std::string> parts;
  for (const std::int64_t extent : shape) parts.push_back(std::to_string(extent));
  return concat("[", core::join(parts, ", "), "]");
}

SafetensorsFile::SafetensorsFile(const fs::path& path) : file_(path) {
  const std::string file = path.string();
  const auto bytes = file_.bytes();
  if (bytes.size() < 8)
    throw FormatError(
        concat("'", file, "': not a safetensors file: only ", bytes.size(), " bytes"));
  const std::uint64_t header = little_endian(bytes);
  if (header > static_cast<std::uint64_t>(kMaxHeaderBytes)) {
    throw FormatError(
        concat("'", file, "': not a safetensors file: its header would have ", header, " bytes"));
  }
  if (header > bytes.size() - 8) {
    throw FormatError(concat("'", file, "': truncated: the header needs ", header,
                             " bytes, the file has ", bytes.size() - 8,
                             "; download or copy it again"));
  }
  data_begin_ = 8 + static_cast<std::int64_t>(header);
  const Json root =
      core::parse_json({reinterpret_cast<const char*>(bytes.data()) + 8, header}, file);
  if (!root.is_object())
    throw FormatError(concat("'", file, "': the header must be a JSON object"));
  for (const auto& [name, entry] : root.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object())
        throw FormatError(concat("'", file, "': '__metadata__' must be an object"));
      for (const auto& [key, value] : entry.items())
        metadata_[key] = value.is_string() ? value.get<std::string>() : value.dump();
    } else {
      tensors_.emplace(name, parse_info(entry, concat("'", file, "': tensor '", name, "'")));
    }
  }
  check_ranges(tensors_, static_cast<std::int64_t>(bytes.size()) - data_begin_, file);
}

std::span<const std::byte> SafetensorsFile::data(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw FormatError(concat("'", path().string(), "' has no tensor '", name, "'"));
  return file_.bytes().subspan(static_cast<std::size_t>(data_begin_ + found->second.offset),
                               static_cast<std::size_t>(found->second.bytes));
}

void SafetensorsLayout::declare(const std::string& name, DType dtype,
                                const std::vector<std::int64_t>& shape) {
  TensorInfo info{.dtype = dtype, .shape = shape, .offset = total_, .bytes = 0};
  info.bytes = core::checked_mul(element_count(shape, name), size_of(dtype), name.c_str());
  total_ = core::checked_add(total_, info.bytes, name.c_str());
  tensors_.push_back({name, std::move(info)});
}

std::string SafetensorsLayout::header() const {
  Json header = Json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  for (const auto& [name, info] : tensors_) {
    header[name] = {{"dtype", to_string(info.dtype)},
                    {"shape", info.shape},
                    {"data_offsets", {info.offset, info.offset + info.bytes}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length;
  for (std::size_t i = 0; i < 8; ++i)
    length.push_back(static_cast<char>((text.size() >> (8 * i)) & 0xff));
  return length + text;
}

namespace {

// Writes to `path`'s descriptor from `offset` on. The disk begins at once: what is only begun by
// fsync waits until everything has been copied.
void put(int descriptor, std::span<const std::byte> data, std::int64_t offset,
         const fs::path& path) {
  constexpr std::size_t kStep = std::size_t{16} << 20;
  while (!data.empty()) {
    const ssize_t written = ::pwrite(descriptor, data.data(), std::min(data.size(), kStep), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) core::throw_output_error("write", path, errno);
    // This is a hint; where the system does not know it, fsync does it all.
    ::sync_file_range(descriptor, offset, written, SYNC_FILE_RANGE_WRITE);
    data = data.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(fs::path path, std::map<std::string, std::string> metadata)
    : SafetensorsWriter(std::move(path), SafetensorsLayout(std::move(metadata))) {}

SafetensorsWriter::SafetensorsWriter(fs::path path, SafetensorsLayout layout)
    : path_(std::move(path)),
      temporary_(path_.string() + concat(core::kUnfinished, ::getpid())),
      layout_(std::move(layout)) {}

SafetensorsWriter::~SafetensorsWriter() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    ::unlink(temporary_.c_str());
  }
}

void SafetensorsWriter::declare(const std::string& name, DType dtype,
                                const std::vector<std::int64_t>& shape) {
  if (descriptor_ >= 0)
    throw core::InternalError("[io::SafetensorsWriter] declare() after write()");
  layout_.declare(name, dtype, shape);
}

void SafetensorsWriter::open() {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) core::throw_output_error("create", path_, errno);
  const std::string header = layout_.header();
  put(descriptor_, std::as_bytes(std::span(header)), 0, path_);
  data_begin_ = static_cast<std::int64_t>(header.size());
}

void SafetensorsWriter::write(const std::string& name, std::span<const std::byte> data) {
  if (descriptor_ < 0) open();
  const auto& declared = layout_.tensors();
  if (next_ >= declared.size() || declared[next_].name != name ||
      declared[next_].info.bytes != static_cast<std::int64_t>(data.size())) {
    throw core::InternalError(concat("[io::SafetensorsWriter::write] tensor '", name, "' with ",
                                     data.size(), " bytes is not the next one declared"));
  }
  put(descriptor_, data, data_begin_ + declared[next_].info.offset, path_);
  ++next_;
}

void SafetensorsWriter::finish() {
  if (descriptor_ < 0) open();
  if (next_ != layout_.tensors().size())
    throw core::InternalError("[io::SafetensorsWriter::finish] a declared tensor was not written");
  const bool flushed = ::fsync(descriptor_) == 0;
  const int code = errno;
  ::close(descriptor_);
  descriptor_ = -1;
  if (!flushed || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int cause = flushed ? errno : code;
    ::unlink(temporary_.c_str());
    core::throw_output_error("complete", path_, cause);
  }
}

namespace {

bool begins_with(const fs::path& path, std::string_view header, std::int64_t size) {
  std::error_code error;
  if (fs::file_size(path, error) != static_cast<std::uintmax_t>(size) || error) return false;
  const core::MappedFile file(path);
  const auto bytes = file.bytes().first(header.size());
  return std::equal(bytes.begin(), bytes.end(), std::as_bytes(std::span(header)).begin());
}

}  // namespace

SafetensorsInPlace::SafetensorsInPlace(fs::path path, const SafetensorsLayout& layout)
    : path_(std::move(path)),
      header_(layout.header()),
      size_(static_cast<std::int64_t>(header_.size()) + layout.data_bytes()) {
  for (const auto& [name, info] : layout.tensors()) tensors_[name] = info;
  is_new_ = !begins_with(path_, header_, size_);
  if (is_new_) core::require_disk_space(path_, size_);
}

SafetensorsInPlace::~SafetensorsInPlace() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void SafetensorsInPlace::open() {
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (is_new_ ? O_TRUNC : 0);
  descriptor_ = ::open(path_.c_str(), flags, 0644);
  if (descriptor_ < 0) core::throw_output_error("create", path_, errno);
  if (!is_new_) return;
  try {
    put(descriptor_, std::as_bytes(std::span(header_)), 0, path_);
    if (::ftruncate(descriptor_, size_) != 0) core::throw_output_error("create", path_, errno);
  } catch (...) {
    ::unlink(path_.c_str());  // nothing is in it
    throw;
  }
}

const TensorInfo* SafetensorsInPlace::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

void SafetensorsInPlace::write(const std::string& name, std::span<const std::byte> data) {
  const TensorInfo* info = find(name);
  if (info == nullptr || info->bytes != static_cast<std::int64_t>(data.size())) {
    throw core::InternalError(concat("[io::SafetensorsInPlace::write] tensor '", name, "' with ",
                                     data.size(), " bytes is not in the layout"));
  }
  if (descriptor_ < 0) open();
  const auto begin = static_cast<std::int64_t>(header_.size()) + info->offset;
  put(descriptor_, data, begin, path_);
}

void SafetensorsInPlace::flush() {
  if (descriptor_ >= 0 && ::fdatasync(descriptor_) != 0)
    core::throw_output_error("flush", path_, errno);
}

}  // namespace corda::io

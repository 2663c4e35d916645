// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/table_reader.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "corda/core/error.h"

namespace corda::data {

namespace {

using core::concat;
using core::Json;

constexpr std::int64_t kRowsAtATime = 256;
constexpr std::int64_t kBufferBytes = std::int64_t{1} << 20;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& reason) {
  throw core::FormatError(concat(path.string(), ": the table cannot be read: ", reason));
}

template <typename T>
T value_or_fail(arrow::Result<T> result, const std::filesystem::path& path) {
  if (!result.ok()) fail(path, result.status().message());
  return std::move(result).ValueUnsafe();
}

void check(const arrow::Status& status, const std::filesystem::path& path) {
  if (!status.ok()) fail(path, status.message());
}

// Whether there is nothing but bytes in it (an image, sound).
bool is_bytes(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::BINARY_VIEW:
    case arrow::Type::FIXED_SIZE_BINARY:
      return true;
    default:
      break;
  }
  return !type.fields().empty() &&
         std::all_of(type.fields().begin(), type.fields().end(),
                     [](const auto& field) { return is_bytes(*field->type()); });
}

Json value_at(const arrow::Array& array, std::int64_t row);

template <typename Array>
Json text_at(const arrow::Array& array, std::int64_t row) {
  return std::string(static_cast<const Array&>(array).GetView(row));
}

template <typename Array>
Json list_at(const arrow::Array& array, std::int64_t row) {
  const auto slice = static_cast<const Array&>(array).value_slice(row);
  Json list = Json::array();
  for (std::int64_t i = 0; i < slice->length(); ++i) list.push_back(value_at(*slice, i));
  return list;
}

Json struct_at(const arrow::StructArray& array, std::int64_t row) {
  Json object = Json::object();
  for (int i = 0; i < array.num_fields(); ++i) {
    const arrow::Field& field = *array.struct_type()->field(i);
    if (!is_bytes(*field.type())) object[field.name()] = value_at(*array.field(i), row);
  }
  return object;
}

// An object where the keys are text, as Arrow's maps of Python's dicts are.
Json map_at(const arrow::MapArray& array, std::int64_t row) {
  Json object = Json::object();
  for (std::int64_t i = array.value_offset(row); i < array.value_offset(row + 1); ++i) {
    const Json key = value_at(*array.keys(), i);
    object[key.is_string() ? key.get<std::string>() : key.dump()] = value_at(*array.items(), i);
  }
  return object;
}

template <typename Type>
Json number_at(const arrow::Array& array, std::int64_t row) {
  return static_cast<const arrow::NumericArray<Type>&>(array).Value(row);
}

template <typename Type>
Json real_at(const arrow::Array& array, std::int64_t row) {
  const auto value = static_cast<const arrow::NumericArray<Type>&>(array).Value(row);
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json nested_at(const arrow::Array& array, std::int64_t row) {
  switch (array.type_id()) {
    case arrow::Type::LIST:
      return list_at<arrow::ListArray>(array, row);
    case arrow::Type::LARGE_LIST:
      return list_at<arrow::LargeListArray>(array, row);
    case arrow::Type::FIXED_SIZE_LIST:
      return list_at<arrow::FixedSizeListArray>(array, row);
    case arrow::Type::STRUCT:
      return struct_at(static_cast<const arrow::StructArray&>(array), row);
    case arrow::Type::MAP:
      return map_at(static_cast<const arrow::MapArray&>(array), row);
    case arrow::Type::DICTIONARY: {
      const auto& words = static_cast<const arrow::DictionaryArray&>(array);
      return value_at(*words.dictionary(), words.GetValueIndex(row));
    }
    case arrow::Type::EXTENSION:
      return value_at(*static_cast<const arrow::ExtensionArray&>(array).storage(), row);
    default:  // dates, times, decimals: as Arrow writes them
      const auto scalar = array.GetScalar(row);
      return scalar.ok() ? Json(scalar.ValueUnsafe()->ToString()) : Json(nullptr);
  }
}

Json value_at(const arrow::Array& array, std::int64_t row) {
  if (array.IsNull(row)) return nullptr;
  switch (array.type_id()) {
    case arrow::Type::STRING:
      return text_at<arrow::StringArray>(array, row);
    case arrow::Type::LARGE_STRING:
      return text_at<arrow::LargeStringArray>(array, row);
    case arrow::Type::STRING_VIEW:
      return text_at<arrow::StringViewArray>(array, row);
    case arrow::Type::BOOL:
      return static_cast<const arrow::BooleanArray&>(array).Value(row);
    case arrow::Type::INT8:
      return number_at<arrow::Int8Type>(array, row);
    case arrow::Type::INT16:
      return number_at<arrow::Int16Type>(array, row);
    case arrow::Type::INT32:
      return number_at<arrow::Int32Type>(array, row);
    case arrow::Type::INT64:
      return number_at<arrow::Int64Type>(array, row);
    case arrow::Type::UINT8:
      return number_at<arrow::UInt8Type>(array, row);
    case arrow::Type::UINT16:
      return number_at<arrow::UInt16Type>(array, row);
    case arrow::Type::UINT32:
      return number_at<arrow::UInt32Type>(array, row);
    case arrow::Type::UINT64:
      return number_at<arrow::UInt64Type>(array, row);
    case arrow::Type::FLOAT:
      return real_at<arrow::FloatType>(array, row);
    case arrow::Type::DOUBLE:
      return real_at<arrow::DoubleType>(array, row);
    default:
      return nested_at(array, row);
  }
}

using NextBatch = std::function<arrow::Result<std::shared_ptr<arrow::RecordBatch>>()>;

class TableReader : public RecordReader {
 public:
  TableReader(std::filesystem::path path, NextBatch next)
      : path_(std::move(path)), next_(std::move(next)) {}

  std::optional<RawRecord> next_raw() override {
    can_skip_ = false;
    try {
      while (!batch_ || row_ == batch_->num_rows()) {
        batch_ = value_or_fail(next_(), path_);
        row_ = 0;
        if (!batch_) return std::nullopt;
        check(batch_->Validate(), path_);
      }
      return next_row();
    } catch (const core::Error&) {
      throw;
    } catch (const std::exception& error) {  // Parquet's own
      fail(path_, error.what());
    }
  }

  bool skip_bad() override { return can_skip_; }

 private:
  RawRecord next_row() {
    Json record = Json::object();
    for (int i = 0; i < batch_->num_columns(); ++i) {
      const arrow::Field& column = *batch_->schema()->field(i);
      if (!is_bytes(*column.type())) record[column.name()] = value_at(*batch_->column(i), row_);
    }
    ++row_;
    ++number_;
    try {
      return {.text = record.dump(), .line = number_};
    } catch (const Json::type_error&) {
      can_skip_ = true;
      throw core::FormatError(
          concat(path_.string(), ":", number_, ":1: a text of the row is not valid UTF-8"));
    }
  }

  std::filesystem::path path_;
  NextBatch next_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::int64_t row_ = 0;
  std::int64_t number_ = 0;
  bool can_skip_ = false;
};

void add_leaves(const parquet::arrow::SchemaField& field, std::vector<int>& leaves) {
  if (is_bytes(*field.field->type())) return;
  if (field.column_index >= 0) leaves.push_back(field.column_index);
  for (const auto& child : field.children) add_leaves(child, leaves);
}

NextBatch open_parquet(const std::shared_ptr<arrow::io::ReadableFile>& file,
                       const std::filesystem::path& path) {
  parquet::ReaderProperties properties = parquet::default_reader_properties();
  properties.enable_buffered_stream();
  properties.set_buffer_size(kBufferBytes);
  parquet::ArrowReaderProperties rows(/*use_threads=*/false);
  rows.set_batch_size(kRowsAtATime);
  rows.set_pre_buffer(false);
  parquet::arrow::FileReaderBuilder builder;
  check(builder.Open(file, properties), path);
  std::unique_ptr<parquet::arrow::FileReader> opened;
  check(builder.properties(rows)->Build(&opened), path);
  const std::shared_ptr<parquet::arrow::FileReader> reader = std::move(opened);
  std::vector<int> leaves;
  for (const auto& field : reader->manifest().schema_fields) add_leaves(field, leaves);
  std::vector<int> groups;
  for (int i = 0; i < reader->num_row_groups(); ++i) groups.push_back(i);
  std::shared_ptr<arrow::RecordBatchReader> batches =
      value_or_fail(reader->GetRecordBatchReader(groups, leaves), path);
  return [reader, batches] { return batches->Next(); };
}

NextBatch open_arrow_file(const std::shared_ptr<arrow::io::ReadableFile>& file,
                          const std::filesystem::path& path) {
  const auto reader = value_or_fail(arrow::ipc::RecordBatchFileReader::Open(file), path);
  return [reader, next = 0]() mutable -> arrow::Result<std::shared_ptr<arrow::RecordBatch>> {
    if (next == reader->num_record_batches()) return nullptr;
    return reader->ReadRecordBatch(next++);
  };
}

NextBatch open_batches(const std::filesystem::path& path) {
  auto opened = arrow::io::ReadableFile::Open(path.string());
  if (!opened.ok()) {
    throw core::IoError(concat("cannot open '", path.string(), "': ", opened.status().message()));
  }
  const auto file = std::move(opened).ValueUnsafe();
  const auto head = value_or_fail(file->ReadAt(0, 6), path);
  const std::string_view magic(*head);
  if (magic.starts_with("PAR1")) return open_parquet(file, path);
  if (magic == "ARROW1") return open_arrow_file(file, path);
  check(file->Seek(0), path);
  const auto stream = value_or_fail(arrow::ipc::RecordBatchStreamReader::Open(file), path);
  return [stream] { return stream->Next(); };
}

}  // namespace

std::unique_ptr<RecordReader> open_table(const std::filesystem::path& path) {
  try {
    return std::make_unique<TableReader>(path, open_batches(path));
  } catch (const core::Error&) {
    throw;
  } catch (const std::exception& error) {  // Parquet's own
    fail(path, error.what());
  }
}

bool reads_tables() { return true; }

}  // namespace corda::data

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/verify_samples.h"

#include <algorithm>
#include <optional>

#include "corda/core/config_node.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/random.h"
#include "corda/core/text.h"
#include "corda/data/load.h"
#include "corda/data/vocabulary.h"
#include "eval/chat_prompt.h"

namespace corda::eval {

using core::concat;
using core::ConfigNode;

namespace {

namespace fs = std::filesystem;

// Both models run in fp32, perhaps on a CPU. Rounding shows in every token, so few are enough.
constexpr std::int64_t kRecords = 64;
constexpr std::int64_t kTokens = 2048;
constexpr std::int64_t kLongest = 2048;  // tokens of a sample, where no run says

// What is drawn where no data are known. The seed is any fixed number, so that a second run gives
// the same figures.
constexpr std::int64_t kRandomSequences = 4;
constexpr std::int64_t kRandomLength = 48;
constexpr std::uint64_t kSeed = 20240614;

VerifySamples random_samples(std::int64_t vocab_size) {
  core::Random random(kSeed);
  VerifySamples samples{.batch = {},
                        .what = concat(kRandomSequences, " sequences of random tokens")};
  for (std::int64_t i = 0; i < kRandomSequences; ++i) {
    data::Sample sample;
    for (std::int64_t t = 0; t < kRandomLength; ++t) {
      sample.ids.push_back(
          static_cast<data::TokenId>(random.below(static_cast<std::uint64_t>(vocab_size))));
      sample.supervised.push_back(t > 0 ? 1 : 0);
    }
    data::append(samples.batch, sample);
  }
  return samples;
}

std::string text_at(const ConfigNode& map, std::string_view key, const std::string& fallback) {
  const ConfigNode* node = map.find(key);
  return node != nullptr && node->kind == ConfigNode::Kind::kScalar ? node->text : fallback;
}

std::vector<data::DataFile> files_at(const ConfigNode& data, std::string_view key) {
  std::vector<data::DataFile> files;
  const ConfigNode* list = data.find(key);
  if (list == nullptr) return files;
  for (const ConfigNode& item : list->items) {
    data::DataFile file{.path = text_at(item, "path", ""),
                        .format = text_at(item, "format", "auto")};
    if (const ConfigNode* columns = item.find("columns")) {
      for (const auto& [field, column] : columns->entries) file.columns[field] = column.text;
    }
    file.first = core::parse_int(text_at(item, "first", "0")).value_or(0);
    file.count = core::parse_int(text_at(item, "count", "-1")).value_or(-1);
    files.push_back(std::move(file));
  }
  return files;
}

// What the run that made the adapter was trained and evaluated on.
std::optional<SampleSource> source_of_run(const VerifySettings& settings) {
  fs::path adapter = fs::absolute(settings.adapter).lexically_normal();
  if (!adapter.has_filename()) adapter = adapter.parent_path();
  const fs::path path = adapter.parent_path() / "config.resolved.yaml";
  if (!fs::exists(path)) return std::nullopt;
  const ConfigNode root = core::parse_yaml(core::read_file(path), path.string());
  const ConfigNode* data = root.find("data");
  if (data == nullptr) return std::nullopt;
  SampleSource source{.files = files_at(*data, "eval"),
                      .encode = {.template_name = text_at(*data, "template", "auto"),
                                 .model_directory = settings.model,
                                 .train_on = text_at(*data, "train_on", "assistant"),
                                 .system = text_at(*data, "system", ""),
                                 .date = text_at(*data, "date", "")}};
  if (source.files.empty()) source.files = files_at(*data, "train");
  if (source.files.empty()) return std::nullopt;
  source.encode.max_length = core::parse_int(text_at(*data, "max_length", "")).value_or(kLongest);
  source.encode.skip_bad = true;
  return source;
}

VerifySamples load(SampleSource source, const VerifySettings& settings, std::int64_t vocab_size) {
  std::vector<std::string> names;
  const auto share =
      std::max<std::int64_t>(1, kRecords / static_cast<std::int64_t>(source.files.size()));
  for (auto& file : source.files) {
    file.count = file.count < 0 ? share : std::min(file.count, share);
    names.push_back(concat("'", file.path.string(), "'"));
  }
  source.encode.threads = settings.threads;
  core::Reporter quiet;  // training and `corda preview` say what there is to be said of the data
  const auto tokenizer = tokenizer::load_tokenizer(settings.model);
  const data::Dataset dataset = data::load_samples(source.files, *tokenizer, source.encode, quiet);
  data::require_rows(dataset.samples, {*tokenizer, vocab_size}, source.files, source.encode);
  VerifySamples samples;
  std::optional<data::Sample> shortest;
  for (std::int64_t i = 0; i < dataset.samples.size(); ++i) {
    data::Sample sample = dataset.samples[i];
    const auto length = static_cast<std::int64_t>(sample.ids.size());
    if (samples.batch.tokens() + length <= kTokens) {
      data::append(samples.batch, sample);
    } else if (!shortest || sample.ids.size() < shortest->ids.size()) {
      shortest = std::move(sample);
    }
  }
  if (samples.batch.sequences() == 0 && shortest) data::append(samples.batch, *shortest);
  samples.what = concat(samples.batch.sequences(), " samples of ", core::listed(names));
  return samples;
}

}  // namespace

SampleSource source_of(const VerifySettings& settings) {
  SampleSource source{
      .files = {},
      .encode = {.template_name = data_template_for(settings.template_name, settings.adapter),
                 .model_directory = settings.model,
                 .system = settings.system,
                 .date = settings.date,
                 .max_length = kLongest,
                 .skip_bad = settings.skip_bad,
                 .threads = settings.threads}};
  for (const auto& path : settings.data) {
    source.files.push_back({.path = path,
                            .format = settings.format,
                            .columns = data::parse_columns(settings.columns)});
  }
  return source;
}

VerifySamples verify_samples(const VerifySettings& settings, std::int64_t vocab_size,
                             core::Reporter& reporter) {
  if (!settings.data.empty()) return load(source_of(settings), settings, vocab_size);
  try {
    if (auto source = source_of_run(settings))
      return load(std::move(*source), settings, vocab_size);
    reporter.info(
        "--verify: no run stands beside the adapter, so random tokens are compared; "
        "--data FILE compares on text that matters");
  } catch (const core::Interrupted&) {
    throw;
  } catch (const core::Error& error) {
    reporter.warn(
        concat("--verify: the data of the adapter's run cannot be read any more, so "
               "random tokens are compared; give --data. The reason: ",
               error.what()));
  }
  return random_samples(vocab_size);
}

}  // namespace corda::eval

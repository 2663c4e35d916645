// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/run_data.h"

#include <system_error>

#include "corda/data/vocabulary.h"
#include "corda/model/config.h"
#include "corda/tokenizer/tokenizer.h"

namespace corda::train {

namespace fs = std::filesystem;

namespace {

// The directory that `data.cache` means; empty for memory.
fs::path cache_directory(const TrainSettings& settings, const std::vector<data::DataFile>& files,
                         DataCache cache) {
  constexpr std::uintmax_t kLarge = 256'000'000;
  if (settings.data.cache == "none") return {};
  if (settings.data.cache != "auto") return settings.data.cache;
  if (cache == DataCache::kNotInRun) return {};
  std::uintmax_t bytes = 0;
  for (const auto& file : files) {
    std::error_code ignored;
    const auto size = fs::file_size(file.path, ignored);
    if (!ignored) bytes += size;
  }
  return bytes < kLarge ? fs::path() : fs::path(settings.out) / "data-cache";
}

}  // namespace

data::EncodeSettings encode_settings_of(const TrainSettings& settings) {
  return {.template_name = settings.data.template_name,
          .model_directory = settings.model,
          .train_on = settings.data.train_on,
          .system = settings.data.system,
          .date = settings.data.date,
          .max_length = settings.data.max_length,
          .overlong = settings.data.overlong,
          .skip_bad = settings.data.skip_bad,
          .skip_switch = "data.skip_bad: true",
          .threads = settings.threads};
}

RunData load_data(const TrainSettings& settings, DataCache cache, core::Reporter& reporter,
                  dist::World& world) {
  const auto tokenizer = tokenizer::load_tokenizer(settings.model);
  const data::Vocabulary vocabulary{
      *tokenizer, model::read_model_config(settings.model, settings.assume_family).vocab_size};
  const auto load = [&](const std::vector<data::DataFile>& files) {
    data::EncodeSettings encode = encode_settings_of(settings);
    encode.threads = world.threads(settings.threads);
    encode.cache = cache_directory(settings, files, cache);
    data::Dataset dataset = data::load_samples(files, *tokenizer, encode, reporter);
    data::require_rows(dataset.samples, vocabulary, files, encode);
    return dataset;
  };
  const std::vector<data::DataFile> files = training_files(settings);
  const bool shares = !cache_directory(settings, files, cache).empty();
  if (shares && world.local_rank() > 0) world.barrier();
  RunData data{.train = load(files), .epoch = {}, .eval = {}};
  data.epoch = data::epoch_mixture(files, data.train.file_samples,
                                   settings.data.replay.files.size(), settings.data.replay.share);
  if (!settings.data.eval.empty()) data.eval = load(settings.data.eval);
  if (shares && world.local_rank() == 0) world.barrier();
  return data;
}

}  // namespace corda::train

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/preview.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/refuse_changed.h"
#include "corda/data/names.h"
#include "data/mistakes.h"
#include "data/sample_pipeline.h"

namespace corda::data {

core::SettingsList settings_of(PreviewSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  list.add("data", s.data, core::kDataHelp).path(core::PathKind::kData).required();
  list.add("format", s.format, "of the data", format_names());
  list.add("columns", s.columns,
           "field=column, comma separated, for example instruction=question,output=answer");
  add_template_settings(list, "", s.template_name, s.system, s.date, s.skip_bad);
  list.add("train_on", s.train_on,
           "what of a conversation is learnt: the assistant's turns, its last one, or all",
           {"assistant", "last", "all"});
  list.add("max_length", s.max_length, "longest sample, tokens; 0: no limit", {0, 1 << 20});
  list.add("overlong", s.overlong, "what happens to longer samples", {"truncate", "drop"});
  list.add("samples", s.samples, "so many samples are shown, from the first", {0, 1e6});
  list.add("sample", s.sample, "show only this one, from 0; -1: the first ones", {-1, 1e15});
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  return list;
}

Preview preview(const PreviewSettings& given, const tokenizer::Tokenizer& tokenizer,
                core::Reporter& reporter) {
  PreviewSettings settings = given;
  settings_of(settings).check_values();
  if (settings.sample >= 0)
    core::refuse_changed(settings, settings_of, {"samples"},
                         "for the first samples, and --sample shows one");
  if (settings.max_length == 0)
    core::refuse_changed(settings, settings_of, {"overlong"},
                         "for samples longer than --max-length, which is 0");
  std::vector<DataFile> files;
  for (const auto& path : settings.data) {
    files.push_back(
        {.path = path, .format = settings.format, .columns = parse_columns(settings.columns)});
  }
  const EncodeSettings encode{.template_name = settings.template_name,
                              .model_directory = settings.model,
                              .train_on = settings.train_on,
                              .system = settings.system,
                              .date = settings.date,
                              .max_length = settings.max_length,
                              .overlong = settings.overlong,
                              .skip_bad = settings.skip_bad,
                              .threads = settings.threads};
  const std::int64_t first = std::max<std::int64_t>(settings.sample, 0);
  const std::int64_t end = settings.sample >= 0 ? first + 1 : settings.samples;
  SamplePipeline pipeline(tokenizer, encode, reporter);
  Preview result;
  std::int64_t index = 0;
  pipeline.run(
      files,
      [&](const EncodedRecord& encoded) {
        for (const Sample& sample : encoded.samples) {
          if (index >= first && index < end) {
            PreviewSample shown{.index = index,
                                .place = encoded.place,
                                .sample = sample,
                                .pieces = {},
                                .borders = encoded.borders,
                                .full_tokens = encoded.full_tokens};
            for (const TokenId id : sample.ids) shown.pieces.push_back(tokenizer.id_to_token(id));
            result.samples.push_back(std::move(shown));
          }
          ++index;
        }
      },
      end);
  if (settings.sample >= 0 && result.samples.empty()) {
    throw core::ConfigError(core::concat("there is no sample ", settings.sample, ": there are ",
                                         index, ", counted from 0"));
  }
  result.counts = pipeline.counts();
  const ChatTemplate* chat = pipeline.encoder().chat();
  result.template_used = {pipeline.template_name(), chat != nullptr ? chat->exported() : ""};
  result.warnings = find_mistakes(result.counts, tokenizer, encode, chat);
  return result;
}

}  // namespace corda::data

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What training would see of data: samples token by token, totals, and the known mistakes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"
#include "corda/data/load.h"

namespace corda::data {

struct PreviewSettings {
  std::string model;                   // directory with the tokenizer's files
  std::vector<std::string> data;       // the files that are read
  std::string format = "auto";         // of them: format_names
  std::string columns;                 // parse_columns, where the file's names differ
  std::string template_name = "auto";  // makes records text: template_names, or a .jinja file
  std::string system;                  // prompt in place of that of the data; "": the data's
  std::string date;                    // YYYY-MM-DD that a template may show; "": today
  bool skip_bad = false;               // list bad records and leave them out, instead of stopping
  std::string train_on = "assistant";  // assistant | last | all
  std::int64_t max_length = 512;       // tokens of a sample; 0: no limit
  std::string overlong = "truncate";   // what becomes of a longer one: truncate | drop
  std::int64_t samples = 3;            // so many from the first one
  std::int64_t sample = -1;            // only this one, from 0; -1: as `samples` says
  std::int64_t threads = 0;            // that tokenise; 0: all
};

// The list behind the flags of `corda preview`.
core::SettingsList settings_of(PreviewSettings& settings);

struct PreviewSample {
  std::int64_t index = 0;
  std::string place;  // "FILE:LINE:COLUMN" of its record
  Sample sample;
  std::vector<std::string> pieces;    // tokens as the vocabulary writes them
  std::vector<std::int64_t> borders;  // tokens at which a segment begins
  // How many tokens the record had before anything was cut; a plain text counts those of this
  // piece.
  std::int64_t full_tokens = 0;
};

struct Preview {
  std::vector<PreviewSample> samples;
  EncodeCounts counts;  // of all data
  TemplateUsed template_used;
  std::vector<std::string> warnings;
};

// Encodes all data as training would and keeps the samples to be shown. Throws as load_samples, and
// ConfigError where there is no such sample.
Preview preview(const PreviewSettings& settings, const tokenizer::Tokenizer& tokenizer,
                core::Reporter& reporter);

// Writes the preview for a terminal: what is learnt in green where `color`, else between « and »;
// segment borders as |; then ids and pieces; totals and warnings at the end.
std::string to_text(const Preview& preview, const tokenizer::Tokenizer& tokenizer, bool color);
// One JSON object.
std::string to_json(const Preview& preview, const tokenizer::Tokenizer& tokenizer);
// Where a page may be written: no file is there, or an earlier page of to_html. Throws ConfigError
// for any other file, for those of `settings.data` and for what would lie in `settings.model`.
void check_page_path(const std::filesystem::path& page, const PreviewSettings& settings);
// A page that needs no other file.
std::string to_html(const Preview& preview, const tokenizer::Tokenizer& tokenizer);

}  // namespace corda::data

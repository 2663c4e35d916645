// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/sample_cache.h"

#include <algorithm>
#include <array>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/sha256.h"
#include "core/fields.h"
#include "core/json.h"
#include "data/byte_source.h"
#include "data/chat_template.h"
#include "data/record_reader.h"

namespace corda::data {

using core::Json;

namespace {

constexpr int kVersion = 6;

constexpr std::array kCounts = {std::pair{"records", &EncodeCounts::records},
                                std::pair{"samples", &EncodeCounts::samples},
                                std::pair{"truncated", &EncodeCounts::truncated},
                                std::pair{"dropped", &EncodeCounts::dropped},
                                std::pair{"tokens", &EncodeCounts::tokens},
                                std::pair{"supervised", &EncodeCounts::supervised},
                                std::pair{"longest", &EncodeCounts::longest},
                                std::pair{"bad", &EncodeCounts::bad},
                                std::pair{"without_targets", &EncodeCounts::without_targets},
                                std::pair{"with_end", &EncodeCounts::with_end},
                                std::pair{"double_bos", &EncodeCounts::double_bos},
                                std::pair{"eos_appended", &EncodeCounts::eos_appended},
                                std::pair{"too_long", &EncodeCounts::too_long},
                                std::pair{"prompt_fills", &EncodeCounts::prompt_fills},
                                std::pair{"one_token", &EncodeCounts::one_token},
                                std::pair{"hidden_tools", &EncodeCounts::hidden_tools}};

constexpr std::array kNoted = {std::pair{"hidden_messages", &EncodeCounts::hidden_messages},
                               std::pair{"hidden_keys", &EncodeCounts::hidden_keys},
                               std::pair{"dropped_nulls", &EncodeCounts::dropped_nulls},
                               std::pair{"legacy_calls", &EncodeCounts::legacy_calls},
                               std::pair{"empty_answers", &EncodeCounts::empty_answers}};

class Key {
 public:
  // Adds a part behind its length, so that no two lists of parts run together to the same bytes.
  Key& add(std::string_view part) {
    hash_.update(std::to_string(part.size()) + ":").update(part);
    return *this;
  }
  Key& add(std::int64_t number) { return add(std::to_string(number)); }
  // Adds the digest of a file's bytes.
  Key& add_file(const fs::path& path, core::Reporter& reporter) {
    const auto source = open_file(path);
    core::Sha256 content;
    std::string buffer(std::size_t{1} << 20, '\0');
    std::int64_t blocks = 0;
    while (const std::size_t got = source->read(buffer.data(), buffer.size())) {
      content.update(std::string_view(buffer).substr(0, got));
      if (++blocks % 64 == 0) core::throw_if_stopped(reporter, "hashing data");
    }
    return add(content.hex_digest());
  }
  std::string digest() { return hash_.hex_digest(); }

 private:
  core::Sha256 hash_;
};

void add_model_files(Key& key, const fs::path& directory, core::Reporter& reporter) {
  constexpr std::array kNames = {"tokenizer.json",
                                 "tokenizer.model",
                                 "vocab.json",
                                 "merges.txt",
                                 "config.json",
                                 "tokenizer_config.json",
                                 "added_tokens.json",
                                 "special_tokens_map.json",
                                 "generation_config.json",
                                 "chat_template.jinja"};
  std::vector<fs::path> files;
  for (const char* name : kNames) {
    if (fs::exists(directory / name)) files.push_back(directory / name);
  }
  if (fs::is_directory(directory / "additional_chat_templates")) {
    for (const auto& entry : fs::directory_iterator(directory / "additional_chat_templates"))
      if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) key.add(file.filename().string()).add_file(file, reporter);
}

std::vector<std::string> texts_of(const Json& notes, const char* key) {
  std::vector<std::string> texts;
  for (const Json& text : notes.value(key, Json::array())) {
    if (!text.is_string())
      throw core::FormatError(core::concat("tokenised data: '", key, "' must hold texts"));
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::vector<std::int64_t> counts_of(const Json& notes, const char* key) {
  std::vector<std::int64_t> counts;
  for (const Json& count : notes.value(key, Json::array())) {
    if (!count.is_number_integer())
      throw core::FormatError(core::concat("tokenised data: '", key, "' must hold counts"));
    counts.push_back(count.get<std::int64_t>());
  }
  return counts;
}

}  // namespace

std::string cache_key(const std::vector<DataFile>& files, const EncodeSettings& settings,
                      core::Reporter& reporter) {
  Key key;
  key.add("corda samples").add(kVersion);
  key.add(settings.template_name).add(settings.train_on).add(settings.system);
  key.add(settings.max_length).add(settings.overlong).add(settings.skip_bad ? 1 : 0);
  if (settings.template_name.ends_with(".jinja")) key.add_file(settings.template_name, reporter);
  if (ChatTemplate::shows_date(settings.template_name, settings.model_directory))
    key.add("date").add(settings.date);
  add_model_files(key, settings.model_directory, reporter);
  for (const auto& file : files) {
    key.add("file").add(static_cast<std::int64_t>(container_of(file.path, file.format)));
    key.add(file.format);
    key.add(file.first).add(file.count);
    for (const auto& [field, column] : file.columns) key.add(field).add(column);
    key.add_file(file.path, reporter);
  }
  return key.digest();
}

std::string to_notes(const Dataset& dataset) {
  Json counts = Json::object();
  for (const auto& [name, member] : kCounts) counts[name] = dataset.counts.*member;
  Json first = Json::object();
  for (const auto& [name, member] : kNoted) {
    counts[name] = (dataset.counts.*member).count;
    first[name] = (dataset.counts.*member).first;
  }
  return Json{{"version", kVersion},
              {"counts", std::move(counts)},
              {"dropped_list", dataset.counts.dropped_list},
              {"file_samples", dataset.file_samples},
              {"first", std::move(first)},
              {"template", dataset.template_used.name},
              {"chat_template", dataset.template_used.chat_template}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);  // the name may be any path
}

void read_notes(const std::string& notes, Dataset& dataset) {
  const std::string source = "tokenised data";
  const Json json = core::parse_json(notes, source);
  const core::Fields fields(json, source);
  if (fields.integer("version") != kVersion)
    throw core::FormatError("the tokenised data were cached by another version of corda");
  const core::Fields counts(fields.object("counts"), core::concat(source, ": counts"));
  for (const auto& [name, member] : kCounts) dataset.counts.*member = counts.integer(name, 0);
  dataset.counts.dropped_list = texts_of(json, "dropped_list");
  dataset.file_samples = counts_of(json, "file_samples");
  const core::Fields first(fields.object("first"), core::concat(source, ": first"));
  for (const auto& [name, member] : kNoted)
    dataset.counts.*member = {.count = counts.integer(name, 0), .first = first.text(name)};
  dataset.template_used = {fields.text("template"), fields.text("chat_template")};
}

}  // namespace corda::data

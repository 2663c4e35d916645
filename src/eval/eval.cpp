// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/eval/eval.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "corda/adapter/check_fit.h"
#include "corda/core/error.h"
#include "corda/data/batch.h"
#include "corda/data/load.h"
#include "corda/data/names.h"
#include "corda/data/template.h"
#include "corda/linalg/device.h"
#include "corda/model/adapt.h"
#include "corda/model/config.h"
#include "corda/model/forward.h"
#include "corda/model/generate.h"
#include "corda/tokenizer/tokenizer.h"

namespace corda::eval {

using core::concat;
using tokenizer::TokenId;
using tokenizer::Tokenizer;

namespace {

model::Model load(const EvalSettings& settings, core::Reporter& reporter) {
  const at::Device device = linalg::device_of(settings.device);
  const at::ScalarType dtype = linalg::dtype_of(settings.dtype, device);
  const io::Checkpoint checkpoint = io::open_model(settings.model, reporter);
  std::optional<adapter::Adapter> adapter;  // first: one that does not fit should not cost minutes
  if (!settings.adapter.empty())
    adapter = adapter::read_adapter_for(settings.adapter, checkpoint, reporter);
  model::Model loaded = model::load_model(
      checkpoint, model::describe_model(checkpoint, reporter, settings.assume_family),
      {.device = device, .weights = dtype, .compute = dtype});
  if (adapter) model::fold_adapter(loaded, *adapter);
  return loaded;
}

std::vector<data::DataFile> files_of(const EvalSettings& settings,
                                     const std::string& default_format) {
  std::vector<data::DataFile> files;
  for (const auto& path : settings.data) {
    files.push_back({.path = path,
                     .format = settings.format == "auto" ? default_format : settings.format,
                     .columns = data::parse_columns(settings.columns)});
  }
  return files;
}

// Mean negative log-likelihood over the targets of all samples.
void measure_nll(const model::Model& model, const std::vector<data::Sample>& samples,
                 const EvalSettings& settings, EvalResult& result, core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  std::vector<const data::Sample*> pointers;
  for (const auto& sample : samples) pointers.push_back(&sample);
  double sum = 0;
  reporter.begin("loss", static_cast<std::int64_t>(samples.size()), "sample");
  for (const auto& packed :
       data::make_micro_batches(pointers, settings.batch_tokens, /*packing=*/true)) {
    core::throw_if_stopped(reporter, "evaluating");
    if (packed.targets() > 0) {
      const model::Batch batch = model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                   model.config.vocab_size, model.device(),
                                                   packed.target_rows, packed.target_ids);
      sum += model::loss_sum(model, batch).item<double>();
      result.tokens += packed.targets();
    }
    reporter.advance(packed.sequences(), "");
  }
  reporter.end();
  if (result.tokens == 0) throw core::ConfigError("the data has no target token to measure");
  result.nll = sum / static_cast<double>(result.tokens);
  if (!std::isfinite(result.nll)) {
    throw core::NumericalError(concat("the loss is ", result.nll,
                                      "; the weights hold a NaN or an infinity, or an activation "
                                      "overflowed: try --dtype fp32"));
  }
  result.perplexity = std::exp(result.nll);
}

// The joined text cut into windows; every token but a window's first is a target.
std::vector<data::Sample> text_windows(const std::vector<data::DataFile>& files,
                                       const Tokenizer& tokenizer, const EvalSettings& settings,
                                       core::Reporter& reporter) {
  std::string joined;
  for (const auto& file : files) {
    for (const auto& document : data::load_text(file, settings.skip_bad, reporter)) {
      if (!joined.empty()) joined += "\n\n";
      joined += document;
    }
  }
  const std::vector<TokenId> ids = data::encode_plain(tokenizer, joined);
  if (settings.add_bos && !tokenizer.bos_id)
    throw core::ConfigError("--add-bos: the tokenizer has no BOS token");
  std::vector<data::Sample> windows;
  const auto length = static_cast<std::size_t>(settings.seq_len - (settings.add_bos ? 1 : 0));
  for (std::size_t begin = 0; begin < ids.size(); begin += length) {
    if (settings.samples > 0 && static_cast<std::int64_t>(windows.size()) == settings.samples)
      break;
    data::Sample window;
    if (settings.add_bos) window.ids.push_back(*tokenizer.bos_id);
    const std::size_t end = std::min(ids.size(), begin + length);
    window.ids.insert(window.ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(begin),
                      ids.begin() + static_cast<std::ptrdiff_t>(end));
    if (window.ids.size() < 2) break;  // a single left-over token predicts nothing
    window.supervised.assign(window.ids.size(), 1);
    windows.push_back(std::move(window));
  }
  return windows;
}

EvalResult evaluate_perplexity(const EvalSettings& given, core::Reporter& reporter) {
  EvalSettings settings = given;
  const model::ModelDescription config =
      model::read_model_config(settings.model, settings.assume_family);
  settings.seq_len = model::window_tokens(config, settings.seq_len, reporter);
  if (settings.seq_len < 2) {
    throw core::ConfigError(concat(
        "'seq_len' must be at least 2, for a token to be predicted; it is ", settings.seq_len));
  }
  const auto tokenizer = tokenizer::load_tokenizer(settings.model);
  auto files = files_of(settings, "auto");
  std::vector<data::Sample> samples;
  const bool text = std::all_of(files.begin(), files.end(), [&](const auto& file) {
    return data::detect_format(file, settings.skip_bad) == "text";
  });
  if (text) {
    samples = text_windows(files, *tokenizer, settings, reporter);
    const std::size_t longest = samples.empty() ? 0 : samples.front().ids.size();
    model::warn_beyond_positions(config, static_cast<std::int64_t>(longest),
                                 concat("a window of ", longest, " tokens (--seq-len)"), reporter);
  } else {
    const data::Dataset dataset = data::load_samples(files, *tokenizer,
                                                     {.template_name = settings.template_name,
                                                      .model_directory = settings.model,
                                                      .system = settings.system,
                                                      .date = settings.date,
                                                      .max_length = settings.seq_len,
                                                      .skip_bad = settings.skip_bad,
                                                      .threads = settings.threads},
                                                     reporter);
    samples.assign(dataset.samples.begin(), dataset.samples.end());
    if (settings.samples > 0 && static_cast<std::int64_t>(samples.size()) > settings.samples)
      samples.resize(static_cast<std::size_t>(settings.samples));
  }
  EvalResult result{.task = "perplexity", .score_name = "perplexity"};
  result.samples = static_cast<std::int64_t>(samples.size());
  measure_nll(load(settings, reporter), samples, settings, result, reporter);
  result.score = result.perplexity;
  return result;
}

std::vector<TokenId> with_bos(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<TokenId> ids = tokenizer.prefix;
  const auto rest = data::encode_plain(tokenizer, text);
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

bool is_right(std::string generated, const data::QaRecord& record,
              const std::vector<std::string>& stop) {
  for (const auto& text : stop) generated = generated.substr(0, generated.find(text));
  const std::string normal = normalize_answer(generated);
  return std::any_of(record.answers.begin(), record.answers.end(),
                     [&](const auto& answer) { return normalize_answer(answer) == normal; });
}

// Indices of prompts in batches whose cache holds at most `batch_tokens` tokens, shortest prompts
// first.
std::vector<std::vector<std::size_t>> batches_of(const std::vector<std::vector<TokenId>>& prompts,
                                                 const EvalSettings& settings) {
  std::vector<std::size_t> order(prompts.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return prompts[a].size() < prompts[b].size(); });
  std::vector<std::vector<std::size_t>> batches;
  for (const std::size_t i : order) {
    const auto each = static_cast<std::int64_t>(prompts[i].size()) + settings.max_new_tokens;
    const bool fits =
        !batches.empty() &&
        each * (static_cast<std::int64_t>(batches.back().size()) + 1) <= settings.batch_tokens;
    if (!fits) batches.emplace_back();
    batches.back().push_back(i);
  }
  return batches;
}

EvalResult evaluate_qa(const EvalSettings& settings, core::Reporter& reporter) {
  if (std::find(settings.stop.begin(), settings.stop.end(), "") != settings.stop.end()) {
    throw core::ConfigError("--stop: an empty text would end every answer at once");
  }
  const auto tokenizer = tokenizer::load_tokenizer(settings.model);
  std::vector<data::QaRecord> records;
  for (const auto& file : files_of(settings, "qa")) {
    auto loaded = data::load_qa(file, settings.skip_bad, reporter);
    records.insert(records.end(), std::make_move_iterator(loaded.begin()),
                   std::make_move_iterator(loaded.end()));
  }
  if (settings.samples > 0 && static_cast<std::int64_t>(records.size()) > settings.samples)
    records.resize(static_cast<std::size_t>(settings.samples));
  std::vector<std::vector<TokenId>> prompts;
  std::vector<data::Sample> answers;
  for (const auto& record : records) {
    prompts.push_back(with_bos(*tokenizer, data::qa_prompt(record.question)));
    answers.push_back(data::encode_sample(*tokenizer, {.prompt = data::qa_prompt(record.question),
                                                       .response = " " + record.answers.front()}));
  }
  const model::Model model = load(settings, reporter);
  EvalResult result{.task = "qa", .score_name = "exact_match"};
  result.samples = static_cast<std::int64_t>(records.size());
  measure_nll(model, answers, settings, result, reporter);

  model::GenerateOptions options{
      .max_new_tokens = settings.max_new_tokens, .stop_ids = tokenizer->end_ids, .stop_when = {}};
  if (!settings.stop.empty()) {
    options.stop_when = [&](std::span<const TokenId> generated) {
      const std::string text = tokenizer->decode(generated);
      return std::any_of(settings.stop.begin(), settings.stop.end(),
                         [&](const auto& stop) { return text.find(stop) != std::string::npos; });
    };
  }
  std::int64_t right = 0;
  reporter.begin("answers", result.samples, "question");
  for (const auto& batch : batches_of(prompts, settings)) {
    core::throw_if_stopped(reporter, "evaluating");
    std::vector<std::vector<TokenId>> part;
    for (const std::size_t i : batch) part.push_back(prompts[i]);
    const auto generated = model::generate_greedy(model, part, options);
    for (std::size_t j = 0; j < batch.size(); ++j)
      right += is_right(tokenizer->decode(generated[j], {.skip_special_tokens = true}),
                        records[batch[j]], settings.stop)
                   ? 1
                   : 0;
    reporter.advance(static_cast<std::int64_t>(batch.size()), "");
  }
  reporter.end();
  result.score = 100.0 * static_cast<double>(right) / static_cast<double>(result.samples);
  return result;
}

}  // namespace

core::SettingsList settings_of(EvalSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  model::add_assume_family(list, s.assume_family);
  list.add("adapter", s.adapter, "adapter directory, folded into the weights")
      .path(core::PathKind::kModel);
  list.add("task", s.task, "what is measured", {"perplexity", "qa"});
  list.add("data", s.data, core::kDataHelp).path(core::PathKind::kData).required();
  list.add("format", s.format, "of the data", data::format_names());
  list.add("columns", s.columns,
           "field=column, comma separated, for example instruction=question,output=answer");
  data::add_template_settings(list, "", s.template_name, s.system, s.date, s.skip_bad);
  list.add("seq_len", s.seq_len,
           "window of plain text, longest sample, tokens; 0: 2048, or the model's positions where "
           "they are fewer",
           {0, 1 << 20});
  list.add("samples", s.samples, "at most so many records or windows; 0: all", {0, 1e12});
  list.add("max_new_tokens", s.max_new_tokens, "longest answer", {1, 4096});
  list.add("stop", s.stop, "a text that ends an answer, beside EOS; may be given several times");
  list.add("batch_tokens", s.batch_tokens, "tokens of one forward pass", {1, 1 << 24});
  list.add("add_bos", s.add_bos, "begin each window of plain text with BOS");
  list.add("device", s.device, "auto, cpu, cuda or cuda:N");
  list.add("dtype", s.dtype, "of weights and activations", {"auto", "bf16", "fp32"});
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  return list;
}

EvalResult evaluate(const EvalSettings& settings, core::Reporter& reporter) {
  EvalSettings copy = settings;
  settings_of(copy).check_values();
  linalg::set_threads(settings.threads);
  return settings.task == "qa" ? evaluate_qa(settings, reporter)
                               : evaluate_perplexity(settings, reporter);
}

}  // namespace corda::eval

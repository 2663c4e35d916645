// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>

#include "corda/adapter/check_fit.h"
#include "corda/adapter/spectrum.h"
#include "corda/core/text.h"
#include "inspect/facts.h"

namespace corda::inspect {

using adapter::AdapterReader;
using core::concat;
using core::Json;

namespace {

// The ranks that vLLM can be told to make room for.
constexpr std::array<std::int64_t, 9> kServedRanks = {1, 8, 16, 32, 64, 128, 256, 320, 512};

Json peft_answer(const Json& config) {
  Json remarks = Json::array();
  if (config.value("use_dora", false)) remarks.push_back("a DoRA: PEFT 0.9 or newer");
  if (!config.value("rank_pattern", Json::object()).empty() ||
      !config.value("alpha_pattern", Json::object()).empty())
    remarks.push_back("layers with a rank or alpha of their own: PEFT 0.5 or newer");
  if (config.contains("exclude_modules")) remarks.push_back("exclude_modules: PEFT 0.14 or newer");
  Json answer = {{"loads", true}, {"command", "PeftModel.from_pretrained(base, path)"}};
  if (!remarks.empty()) answer["remarks"] = std::move(remarks);
  return answer;
}

// Why vLLM would not compute it; "" where it does.
std::string vllm_refusal(const AdapterReader& reader, const Json& config, std::int64_t rank) {
  if (config.value("use_dora", false))
    return "vLLM refuses DoRA; merge the adapter and serve the model";
  if (!config.value("rank_pattern", Json::object()).empty() ||
      !config.value("alpha_pattern", Json::object()).empty()) {
    return "vLLM ignores rank_pattern and alpha_pattern, so such layers would get a wrong scale; "
           "merge the adapter, or give all layers one rank with corda export --rank";
  }
  if (!reader.base_weights().empty())
    return "it holds weights of the base, which vLLM refuses; merge the adapter";
  if (rank > kServedRanks.back()) {
    return concat("vLLM serves ranks up to ", kServedRanks.back(), ", and the file's is ", rank,
                  "; corda export --rank makes it smaller");
  }
  return "";
}

Json vllm_answer(const AdapterReader& reader, const Json& config, const InspectSettings& settings,
                 std::int64_t rank) {
  const std::string refusal = vllm_refusal(reader, config, rank);
  if (!refusal.empty()) return {{"loads", false}, {"reason", refusal}};
  const auto served = std::lower_bound(kServedRanks.begin(), kServedRanks.end(), rank);
  return {{"loads", true},
          {"flags", concat("--enable-lora --max-lora-rank ", *served, " --lora-modules name=",
                           fs::absolute(settings.path).lexically_normal().string())}};
}

// How much of the energy of all layers the adapter's directions hold, as decomposition found it.
void add_energy(Json& facts, const adapter::Adapter& header) {
  if (header.reports.empty()) return;
  double share = 0;
  double bound = 1;
  std::int64_t exact = 0;
  for (const auto& [module, report] : header.reports) {
    share += report.total_energy > 0 ? report.energy / report.total_energy : 0;
    bound = std::max(bound, report.bound);
    exact += report.refused.empty() ? 0 : 1;
  }
  facts["mean_energy_share"] = share / static_cast<double>(header.reports.size());
  facts["largest_proved_bound"] = bound;
  facts["layers_done_again"] = exact;
}

Json layer_facts(const AdapterReader& reader, const std::string& module, bool spectra,
                 const Forgettings& forgetting) {
  const auto [out, in] = reader.weight_shape(module);
  const adapter::LayerAdapter layer = reader.layer(module);
  // The rank of the product that the file holds.
  const std::int64_t rank = layer.rank() * (layer.subtracts_start() ? 2 : 1);
  Json facts = {{"module", module}, {"out", out}, {"in", in}, {"stored_rank", rank}};
  const double scale = reader.header().scale_of(layer);
  if (spectra) {
    const std::vector<double> values = adapter::update_spectrum(layer, scale);
    double squares = 0;
    for (const double value : values) squares += value * value;
    facts["update_norm"] = std::sqrt(squares);
    facts["singular_values"] = values;
  } else {
    facts["update_norm"] = adapter::update_norm(layer, scale);
  }
  if (const auto found = forgetting.find(module); found != forgetting.end())
    facts["forgetting"] = found->second.gauge();
  const auto report = reader.header().reports.find(module);
  if (report != reader.header().reports.end()) {
    facts["energy"] = report->second.energy;
    facts["total_energy"] = report->second.total_energy;
    facts["tokens"] = report->second.tokens;
    if (!report->second.route.empty()) facts["route"] = report->second.route;
  }
  return facts;
}

Json layers_of(const AdapterReader& reader, const InspectSettings& settings,
               const Forgettings& forgetting, core::Reporter& reporter) {
  Json layers = Json::array();
  reporter.begin("inspect", static_cast<std::int64_t>(reader.modules().size()), "layer");
  for (const std::string& module : reader.modules()) {
    layers.push_back(layer_facts(reader, module, settings.spectra, forgetting));
    reporter.advance(1, module);
  }
  reporter.end();
  return layers;
}

// The fingerprint of the base, as the adapter or else the setting says; "" where neither does.
std::string base_of(const adapter::Adapter& header, const InspectSettings& settings,
                    core::Reporter& reporter) {
  if (!header.base_fingerprint.empty() || settings.model.empty()) return header.base_fingerprint;
  return io::open_model(settings.model, reporter).fingerprint();
}

}  // namespace

Json adapter_facts(const InspectSettings& settings, core::Reporter& reporter) {
  const AdapterReader reader(settings.path);
  const adapter::Adapter& header = reader.header();
  const Json config = core::read_json(fs::path(settings.path) / "adapter_config.json");
  Forgettings forgetting;
  Json gauge;
  if (!settings.covariance.empty()) {
    adapter::KnowledgeInputs inputs(settings.covariance, base_of(header, settings, reporter),
                                    reader.modules());
    forgetting = forgetting_of_adapter(settings, reader, inputs, reporter);
    gauge = forgetting_facts(inputs, forgetting);
  }
  Json layers = layers_of(reader, settings, forgetting, reporter);
  std::int64_t rank = 0;
  double squares = 0;
  for (const Json& layer : layers) {
    rank = std::max(rank, layer["stored_rank"].get<std::int64_t>());
    squares += std::pow(layer["update_norm"].get<double>(), 2);
  }
  std::set<std::string> targets;
  for (const std::string& module : reader.modules()) targets.emplace(core::last_part(module));
  Json facts = {{"kind", "adapter"}, {"path", settings.path}, {"method", header.method}};
  if (!header.mode.empty()) facts["mode"] = header.mode;
  facts["rank"] = header.rank;
  facts["stored_rank"] = rank;
  facts["alpha"] = header.alpha;
  facts["scale"] = header.scale();
  facts["a_is_trained"] = header.train_a;
  facts["b_is_trained"] = header.train_b;
  facts["adapted_layers"] = reader.modules().size();
  facts["target_modules"] = targets;
  facts["base"] = {{"name", header.base_name}, {"fingerprint", header.base_fingerprint}};
  if (!header.base_format.empty()) facts["base"]["format"] = header.base_format;
  if (!header.template_name.empty()) facts["template"] = header.template_name;
  add_size(facts, reader.file());
  add_energy(facts, header);
  if (!settings.model.empty()) {
    facts["fit"] = fit_of(settings.model, [&] {
      adapter::check_fit(reader, io::open_model(settings.model, reporter), reporter);
    });
  }
  const bool fits = settings.model.empty() || facts["fit"]["fits"].get<bool>();
  const Json unfit = {{"loads", false}, {"reason", "it does not fit the model, see 'fit'"}};
  facts["peft"] = fits ? peft_answer(config) : unfit;
  facts["vllm"] = fits ? vllm_answer(reader, config, settings, rank) : unfit;
  facts["update_norm"] = std::sqrt(squares);
  if (!gauge.is_null()) facts["forgetting"] = std::move(gauge);
  facts["layers"] = std::move(layers);
  return facts;
}

}  // namespace corda::inspect

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A low-rank adapter of a model and its directory: plain PEFT files plus corda.json.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "corda/io/safetensors.h"

namespace corda::adapter {

namespace fs = std::filesystem;

// The adapter of one linear layer W [out, in]. All tensors fp32.
struct LayerAdapter {
  at::Tensor a;          // A  [r, in]
  at::Tensor b;          // B  [out, r]
  at::Tensor a0;         // A0 [r, in],  undefined where the adapter does not subtract its start
  at::Tensor b0;         // B0 [out, r], undefined likewise
  at::Tensor magnitude;  // [out], DoRA only, else undefined
  // The layer's own alpha, where it is not the adapter's (PEFT's alpha_pattern; with use_rslora any
  // other rank has one too).
  std::optional<double> alpha = {};

  std::int64_t rank() const { return a.size(0); }
  bool subtracts_start() const { return a0.defined(); }
};

// What decomposition found for one layer, kept in corda.json.
struct LayerReport {
  std::int64_t rank = 0;
  // The energy of the chosen components and that of all: ||U_r^T W C~||_F and ||W C~||_F. Pissa,
  // milora and mica have the same without C~; dual, eva, null and sc have sums of eigenvalues
  // (docs/modes.md).
  double energy = 0;
  double total_energy = 0;
  double damping = 0;        // c of C~ = C + c mean(diag C) I
  std::int64_t tokens = 0;   // tokens the site saw in calibration
  std::string route = {};    // of the solver, "" where it was not recorded
  double bound = 1;          // proved bound on energy / optimum (linalg::Spectrum::bound)
  std::string refused = {};  // why the fast route was given up for the exact one, else ""
  // How many of the components the weight does not have, since its rank is lower: they start at
  // zero and stay there.
  std::int64_t without_weight = 0;
  // CorDA++'s figures, where they were used: the log of the compactness of C~ for this layer, and
  // which of the covariances, in their order, was chosen for it.
  std::optional<double> compactness = {};
  std::optional<std::int64_t> covariance = {};
};

// Effective weight of a layer: W + s (B A - B0 A0), s = alpha / rank of the layer; with a magnitude
// m (DoRA, Liu et al. 2024, eq. 5) the rows of W + s B A are rescaled to norm m.
struct Adapter {
  std::string method = "lora";  // lora | dora | pissa | corda
  std::string mode;             // corda: of decompose::modes()
  // The rank of A and B, unless a layer has another. The file holds 2 x rank where the start is
  // subtracted.
  std::int64_t rank = 0;
  double alpha = 0;  // likewise
  double dropout = 0;
  bool train_a = true;  // false: A stays as it starts (dual, null)
  bool train_b = true;  // false: B does (mica)
  std::string base_fingerprint;
  std::string base_name;
  std::int64_t base_blocks = 0;  // decoder blocks of the base; 0: not known. Not stored
  std::string base_format;  // "nf4", "fp8": how the base was held in training; "": as its files say
  // Whether the start made good part of what the base lost in that format (mode cloq), so that the
  // adapter means something over it alone.
  bool corrects_base = false;
  std::vector<std::string> covariance_fingerprints;
  std::string template_name;  // that its training data went through; "" where that is not known
  std::string chat_template;  // Jinja, where it is not the base's own: merging puts it in the model
  std::map<std::string, LayerAdapter> layers;  // by module name, "model.layers.0.self_attn.q_proj"
  std::map<std::string, LayerReport> reports;  // by module name; empty where nothing was decomposed

  // The scale of a layer with the adapter's own rank and alpha, and that of any of its layers.
  double scale() const { return alpha / static_cast<double>(rank); }
  double scale_of(const LayerAdapter& layer) const {
    return layer.alpha.value_or(alpha) / static_cast<double>(layer.rank());
  }
};

// Writes adapter_config.json, adapter_model.safetensors and corda.json into an existing directory.
// Where the start is subtracted the PEFT product is [B - B0, B0] [A; A - A0] at rank 2r and doubled
// lora_alpha, which PEFT loads on the unmodified base. Layers with a rank or an alpha of their own
// stand in rank_pattern and alpha_pattern. Where not every block of the base is known to have the
// same layers, layers_to_transform or full names in target_modules say which have one.
// Factors are stored as `dtype` (F32, BF16 or F16), each rounded once.
void write_adapter(const fs::path& directory, const Adapter& adapter,
                   io::DType dtype = io::DType::kF32);

// Reads a directory written by `write_adapter` or by PEFT (LoRA or DoRA; anything else in its
// configuration that changes the mathematics is a FormatError that names it). Whether it fits a
// base: `read_adapter_for` in check_fit.h.
Adapter read_adapter(const fs::path& directory);

// The factors that a directory stores: [A; A - A0] [2r, in] and [B - B0, B0] [out, 2r] where the
// start is subtracted, else A and B themselves. Their product times s is the update.
struct Factors {
  at::Tensor a;
  at::Tensor b;
};
Factors exported_factors(const LayerAdapter& layer);

// adapter_model.safetensors of an adapter that is made layer by layer, in any order, perhaps by
// several processes one after the other (io::SafetensorsInPlace).
class AdapterTensors {
 public:
  struct Shape {
    std::int64_t out_features = 0;
    std::int64_t in_features = 0;
    std::int64_t stored_rank = 0;  // twice the layer's where the start is subtracted
  };
  // Goes on with the file at `path` where it is for these layers, else makes it anew. Throws
  // ResourceError.
  AdapterTensors(const fs::path& path, const std::map<std::string, Shape>& layers);

  const fs::path& path() const { return file_.path(); }
  bool is_new() const { return file_.is_new(); }
  // `stored` as `exported_factors` gives it, fp32 on the CPU. Throws InternalError for another
  // shape.
  void put(const std::string& module, const Factors& stored);
  void flush() { file_.flush(); }

 private:
  io::SafetensorsInPlace file_;
};

// Writes an adapter_model.safetensors to `out` that has the first components of the layers in
// `stored`, a file of AdapterTensors: as many as `ranks` says by module, which must not be more
// than are there. Layers of rank 0 are left out.
void write_first_components(const fs::path& stored, const fs::path& out,
                            const std::map<std::string, std::int64_t>& ranks, bool subtracts_start);

// Rank and alpha of a layer, by which it is scaled.
struct LayerScale {
  std::int64_t rank = 0;
  double alpha = 0;
};

// Writes adapter_config.json and corda.json for the tensors of `layers`, by module name, which
// stand in `adapter` or were written apart; `subtracts_start` as in LayerAdapter.
void write_adapter_notes(const fs::path& directory, const Adapter& adapter,
                         const std::map<std::string, LayerScale>& layers, bool subtracts_start);

// s (B A - B0 A0), fp32 [out, in], computed as s ((B - B0) A + B0 (A - A0)). Without the magnitude.
at::Tensor update_of(const LayerAdapter& layer, double scale);

// The effective weight in fp32 from the base weight in fp32: `update_of` added, rows rescaled for
// DoRA. With another `strength` than 1 the weight W + strength dW, dW being the whole change: 0 is
// the base, 1 the adapter, and beyond 1 more than was trained.
at::Tensor merged_weight(const at::Tensor& weight, const LayerAdapter& layer, double scale,
                         double strength = 1);

// Throws ConfigError where the adapter was made for another base, unless its fingerprint is empty.
void check_base(const Adapter& adapter, const std::string& fingerprint,
                const std::string& directory);

}  // namespace corda::adapter

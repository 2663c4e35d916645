// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How far an update moves a layer's outputs on the inputs that a covariance was made of. No data
// pass: the covariance knows what is needed of the inputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/io/covariance_store.h"

namespace corda::adapter {

// How far one layer's outputs moved. Both are sums over the inputs, up to the covariance's factor.
struct Forgetting {
  double change = 0;  // tr(dW C dW^T), the sum of ||dW x||^2
  double inputs = 0;  // tr(C), the sum of ||x||^2

  // F = sqrt(change / inputs): the root mean square of ||dW x|| over that of ||x||. 0 where no
  // input was seen.
  double gauge() const;
};

// What a covariance C says of an update s B A whose A does not change, so that C itself need not be
// kept.
struct InputEnergy {
  at::Tensor of_a;    // A C A^T [k, k], fp64
  double inputs = 0;  // tr(C)
};
InputEnergy input_energy(const at::Tensor& a, const at::Tensor& covariance);

// The forgetting of the update scale * B A, as the product that a file holds (`exported_factors`),
// in fp64 and without the matrix: tr(dW C dW^T) = scale^2 <B^T B, A C A^T>. Throws ShapeError where
// the covariance is of other inputs.
Forgetting forgetting_of(const Factors& update, double scale, const at::Tensor& covariance);
Forgetting forgetting_of(const at::Tensor& b, double scale, const InputEnergy& energy);
// The forgetting of any dW [out, in].
Forgetting forgetting_of(const at::Tensor& update, const at::Tensor& covariance);

// F of several layers of one model that has `layers` of them: the root mean square of the layers'
// own F, those that are not changed counting as zero. Traces are not pooled, since the inputs of
// layers are of unlike sizes and a few would speak for all.
double gauge_of(const std::vector<Forgetting>& changed, std::int64_t layers);

// What is known of every changed layer, by its name.
using Forgettings = std::map<std::string, Forgetting>;

// A covariance directory that layers of a model are asked about.
class KnowledgeInputs {
 public:
  // Throws as CovarianceReader; ConfigError where it was collected on another model than that of
  // `fingerprint` ("": not known), where it is centred, and where it has no inputs of some of
  // `modules`, with the first of these and their number.
  KnowledgeInputs(const std::string& directory, const std::string& fingerprint,
                  const std::vector<std::string>& modules);

  // How many layers have inputs here, by the last part of their names: "q_proj" -> 24.
  const std::map<std::string, std::int64_t>& layers_of_kind() const { return layers_of_kind_; }
  std::int64_t layers() const;
  // All of these layers, those of one site one after the other.
  std::vector<std::string> modules() const;
  bool knows(const std::string& module) const { return !reader_.site_of(module).empty(); }
  // The site whose inputs a module sees; layers of one are best asked about together.
  std::string site_of(const std::string& module) const { return reader_.site_of(module); }
  // The input covariance of a known module with so many inputs, fp32 on the CPU. Modules of one
  // site share it: asked for one after the other they are read once. Throws ShapeError where the
  // covariance is of another number of inputs.
  const at::Tensor& of(const std::string& module, std::int64_t in_features);

 private:
  io::CovarianceReader reader_;
  std::map<std::string, std::int64_t> layers_of_kind_;
  std::string loaded_;
  at::Tensor covariance_;
};

// F of the layers of one kind: gauge_of of those that changed, among all that the covariance has.
struct KindGauge {
  std::int64_t changed = 0;
  std::int64_t layers = 0;
  double gauge = 0;
};

// F of a model: of every changed layer by its name, by the last part of the layers' names
// ("q_proj"), and of all layers of the covariance together.
struct Gauges {
  std::map<std::string, double> layers;
  std::map<std::string, KindGauge> kinds;  // those of which any layer changed
  double in_all = 0;
};
// `inputs` knows all layers of `changed`.
Gauges gauges_of(const Forgettings& changed, const KnowledgeInputs& inputs);

}  // namespace corda::adapter

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The forgetting gauge of what is being trained.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "corda/adapter/forgetting.h"
#include "corda/core/reporter.h"
#include "train/trainable.h"

namespace corda::train {

// Reads how far the training has moved the layers' outputs on a covariance's inputs. For an A that
// is not trained A C A^T is computed once, and a reading costs no more than B^T B; for others the
// covariances are read again each time.
class Gauge {
 public:
  // Checks that the covariance is of this base and knows every layer that is trained (with method
  // full those that it knows); errors as adapter::KnowledgeInputs. `trainable` outlives it.
  Gauge(const std::string& covariance, Trainable& trainable);

  // What `optim.decay_metric: knowledge` multiplies the decay of every B [out, r] by, column by
  // column, under the names of Trainable::parameters: the diagonal of A C A^T over its mean, [r]
  // fp32 on the model's device. The decay is then a step down the gradient of that part of tr(dW C
  // dW^T) which each column has by itself. For the rows of A of mode dual this is all of it, where
  // C is the decomposition's. Only for runs that check_decay_metric lets through.
  std::map<std::string, at::Tensor> decay_columns();

  // adapter::gauges_of the present values, over the covariance's layers. Warns and returns nullopt
  // where the memory for it is not there.
  std::optional<adapter::Gauges> read(core::Reporter& reporter);

 private:
  adapter::Forgettings read_all();
  adapter::Forgetting read(const model::Linear& linear);
  adapter::Forgetting read_frozen_a(const model::Linear& linear,
                                    const adapter::LayerAdapter& layer);
  const adapter::InputEnergy& energy_of(const model::Linear& linear);
  bool changes(const model::Linear& linear) const;

  Trainable& trainable_;
  adapter::KnowledgeInputs inputs_;
  std::map<std::string, adapter::InputEnergy> of_frozen_a_;  // by module
};

// Throws ConfigError where the decay is to be shared out by an A that is trained, or that is not
// there. `resolved`: what Trainable::resolve made of the settings.
void check_decay_metric(const TrainSettings& resolved, const Trainable& trainable);

}  // namespace corda::train

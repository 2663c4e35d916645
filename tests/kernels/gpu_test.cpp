// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The CUDA kernels against the CPU references, at sizes with and without wide loads, in windows of
// wider buffers, for one row and for none.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "corda/kernels/copy_rows.h"
#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/embedding.h"
#include "corda/kernels/float8.h"
#include "corda/kernels/gemm.h"
#include "corda/kernels/gemm_plans.h"
#include "corda/kernels/glu.h"
#include "corda/kernels/pack_lower.h"
#include "corda/kernels/rms_norm.h"
#include "corda/kernels/rotary.h"
#include "corda/kernels/scale_columns.h"
#include "corda/kernels/window_copies.h"
#include "kernels/float8_steps.h"
#include "support/temporary_directory.h"

namespace corda::kernels {
namespace {

struct Case {
  at::ScalarType type;
  std::int64_t rows;
  std::int64_t n;        // a multiple of 8 takes the wide path
  std::int64_t padding;  // columns of the buffer past n; an odd number breaks the alignment
};

class Gpu : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
    at::manual_seed(11);
  }
  // A window [rows, columns] of a padded buffer.
  at::Tensor window(std::int64_t columns) const {
    return at::randn({GetParam().rows, columns + GetParam().padding})
        .to(GetParam().type)
        .narrow(1, 0, columns);
  }
  // The same window on the GPU, padding included.
  static at::Tensor on_gpu(const at::Tensor& x) {
    const at::Tensor buffer = at::empty({x.size(0), x.stride(0)}, x.options().device(at::kCUDA));
    const at::Tensor result = buffer.narrow(1, 0, x.size(1));
    result.copy_(x);
    return result;
  }
  // Both sides compute in fp32 and round once: bf16 results differ by one unit in the last place at
  // most (2^-8), fp32 ones by the order of sums and by fast exponentials (a few 1e-6).
  // `floor`: the size of the terms that a small result may be the difference of.
  // `roundings`: how often a result is rounded on its way.
  void expect_equal(const at::Tensor& gpu, const at::Tensor& cpu, double floor = 1e-3,
                    int roundings = 1) const {
    if (cpu.numel() == 0) return;
    const double unit = (cpu.scalar_type() == at::kFloat ? 1e-5 : 1.0 / 128) * roundings;
    const at::Tensor wide = cpu.to(at::kDouble);
    const at::Tensor error = (gpu.cpu().to(at::kDouble) - wide).abs();
    EXPECT_LE((error / (wide.abs() + wide.abs().mean() + floor)).max().item<double>(), unit);
  }
};

// OLMo's, Llama's and Gemma's.
constexpr NormKind kNormKinds[] = {{}, {0, true}, {1, false}};

TEST_P(Gpu, RmsNormMatchesCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  const at::Tensor x = window(n), out = window(n);
  const at::Tensor weight = (at::rand({n}) + 0.5).to(type);
  const at::Tensor inv_rms = at::empty({rows});
  const at::Tensor gx = on_gpu(x), gout = on_gpu(out), gweight = weight.cuda();
  const at::Tensor ginv_rms = inv_rms.cuda();
  for (const NormKind kind : kNormKinds) {
    const int roundings = kind.rounds_before_weight ? 2 : 1;
    const at::Tensor grad = window(n), residual = window(n);
    const at::Tensor ggrad = on_gpu(grad), gresidual = on_gpu(residual);
    rms_norm(out, inv_rms, x, weight, 1e-5, kind);
    rms_norm(gout, ginv_rms, gx, gweight, 1e-5, kind);
    expect_equal(gout, out, 1e-3, roundings);
    expect_equal(ginv_rms, inv_rms);
    rms_norm_backward(grad, residual, x, inv_rms, weight, /*keep_output=*/true, kind);
    rms_norm_backward(ggrad, gresidual, gx, ginv_rms, gweight, /*keep_output=*/true, kind);
    expect_equal(ggrad, grad, 1e-3, roundings);
    expect_equal(gresidual, residual);
  }
}

TEST_P(Gpu, GroupNormMatchesCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  const std::int64_t groups = 3;
  const at::Tensor out = window(groups * n), grad = window(groups * n);
  const at::Tensor weight = (at::rand({n}) + 0.5).to(type);
  const at::Tensor gout = on_gpu(out), ggrad = on_gpu(grad), gweight = weight.cuda();
  for (const NormKind kind : kNormKinds) {
    const at::Tensor x = window(groups * n);
    const at::Tensor gx = on_gpu(x);
    group_norm(out, x, weight, 1e-5, kind);
    group_norm(gout, gx, gweight, 1e-5, kind);
    expect_equal(gout, out, 1e-3, kind.rounds_before_weight ? 2 : 1);
    group_norm_backward(x, grad, weight, 1e-5, kind);
    group_norm_backward(gx, ggrad, gweight, 1e-5, kind);
    expect_equal(gx, x);
  }
}

TEST_P(Gpu, ScaledColumnsMatchCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  const at::Tensor y = window(n), out = window(n), grad = window(n), dy = window(n);
  const at::Tensor factor = at::rand({n}) + 0.5, grad_factor = at::empty({n});
  const at::Tensor gy = on_gpu(y), gout = on_gpu(out), ggrad = on_gpu(grad), gdy = on_gpu(dy);
  const at::Tensor gfactor = factor.cuda(), ggrad_factor = grad_factor.cuda();
  scale_columns(out, y, factor);
  scale_columns(gout, gy, gfactor);
  expect_equal(gout, out);
  scale_columns_backward(dy, grad_factor, grad, y, factor);
  scale_columns_backward(gdy, ggrad_factor, ggrad, gy, gfactor);
  expect_equal(gdy, dy);
  // The sum has terms of both signs and is fp32 whatever the type, so its error is relative to its
  // terms.
  expect_equal(ggrad_factor, grad_factor, static_cast<double>(1 + rows));
}

TEST_P(Gpu, RowsInFloat8AreThoseOfTheCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  if (rows == 0) return;
  const at::Tensor x = window(n);
  x.select(0, rows - 1).zero_();
  x.select(0, 0).mul_(1e-38);
  const at::Tensor factors = at::rand({n}) + 0.5;
  const ScaledRows cpu{at::empty({rows, n}, at::kFloat8_e4m3fn), at::empty({rows})};
  const ScaledRows gpu{cpu.codes.cuda(), cpu.scales.cuda()};
  for (const at::Tensor& factor : {at::Tensor(), factors}) {
    quantise_rows(cpu, x, factor);
    quantise_rows(gpu, on_gpu(x), factor.defined() ? factor.cuda() : factor);
    EXPECT_TRUE(gpu.scales.cpu().equal(cpu.scales));
    EXPECT_TRUE(gpu.codes.cpu().view(at::kByte).equal(cpu.codes.view(at::kByte)));
  }
}

TEST(GpuTransposeCodes, IsTheCpusAtEverySizeAndAlignment) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  for (const std::int64_t rows : {1, 4, 127, 128, 388}) {
    for (const std::int64_t n : {1, 8, 130, 512}) {
      for (const std::int64_t before : {0, 3, 4}) {
        const at::Tensor from = at::randint(256, {rows, n + before}).to(at::kByte);
        const at::Tensor to = at::zeros({n, rows + before}, at::kByte).cuda();
        const auto window = [&](const at::Tensor& bytes) {
          return bytes.view(at::kFloat8_e4m3fn).narrow(1, before, bytes.size(1) - before);
        };
        transpose_codes(window(to), window(from.cuda()));
        EXPECT_TRUE(to.cpu().narrow(1, before, rows).equal(from.narrow(1, before, n).t()))
            << rows << " x " << n << " behind " << before;
        EXPECT_EQ(to.narrow(1, 0, before).sum().item<std::int64_t>(), 0);
      }
    }
  }
}

TEST_P(Gpu, ProductsInFloat8MatchCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  if (!multiplies_float8(at::Device(at::kCUDA, 0))) GTEST_SKIP() << "no tensor cores for float8";
  if (rows == 0) return;
  const std::int64_t in = (n + 15) / 16 * 16, out = 48;
  const auto drawn = [&](std::int64_t count) {
    const ScaledRows result{at::empty({count, in}, at::kFloat8_e4m3fn), at::empty({count})};
    quantise_rows(result, at::randn({count, in}));
    return result;
  };
  const ScaledRows a = drawn(rows), b = drawn(out);
  const ScaledRows ga{a.codes.cuda(), a.scales.cuda()}, gb{b.codes.cuda(), b.scales.cuda()};
  const at::Tensor d = at::empty({rows, out}, type), added = at::randn({rows, out}).to(type);
  const at::Tensor gd =
      at::empty({rows, out + 16}, d.options().device(at::kCUDA)).narrow(1, 0, out);
  for (const at::Tensor& addend : {at::Tensor(), added}) {
    const at::Tensor gaddend = addend.defined() ? addend.cuda() : addend;
    gemm_float8(d, a, b, addend, /*alpha=*/0.5);
    for (const bool at_once : {false, true}) {
      if (at_once && !scales_while_writing(gd.device())) continue;
      gd.fill_(std::numeric_limits<float>::quiet_NaN());
      gemm_float8_on_gpu(gd, ga, gb, gaddend, /*alpha=*/0.5, at_once);
      const at::Tensor error = gd.cpu().to(at::kFloat) - d.to(at::kFloat);
      // Tensor cores keep about 14 bits of a sum; bf16 has 8, and rounds twice in two steps.
      const double limit = type == at::kBFloat16 ? 5e-3 : 2e-3;
      EXPECT_LT(error.norm().item<double>(), limit * d.to(at::kFloat).norm().item<double>())
          << at_once << addend.defined();
    }
  }
}

TEST_P(Gpu, RotaryMatchesCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  const std::int64_t heads = 3, kv_heads = 2;
  const at::Tensor angles = at::rand({rows, n}) * 6;
  const at::Tensor cos = angles.cos(), sin = angles.sin();
  const at::Tensor gcos = cos.cuda(), gsin = sin.cuda();
  // Whole heads, and heads of which a part stays as it is.
  for (const RotaryShape shape : {RotaryShape{2 * n, false}, RotaryShape{2 * n, true},
                                  RotaryShape{2 * n + 8, false}, RotaryShape{3 * n, true}}) {
    const std::int64_t d = shape.head_dim;
    const at::Tensor x = window((heads + 2 * kv_heads) * d);
    const at::Tensor gx = on_gpu(x);
    rotate(x, heads + kv_heads, cos, sin, shape);
    rotate(gx, heads + kv_heads, gcos, gsin, shape);
    expect_equal(gx, x);
    const auto part = [&](std::int64_t count) { return at::randn({rows, count, d}).to(type); };
    const at::Tensor dq = part(heads), dk = part(kv_heads), dv = part(kv_heads);
    gather_rotated_back(x, dq, dk, dv, cos, sin, shape);
    gather_rotated_back(gx, dq.cuda(), dk.cuda(), dv.cuda(), gcos, gsin, shape);
    expect_equal(gx, x);
  }
}

TEST_P(Gpu, GluMatchesCpu) {
  const std::int64_t n = GetParam().n;
  const auto gate = [&](const at::Tensor& x) { return x.narrow(1, 0, n); };
  const auto up = [&](const at::Tensor& x) { return x.narrow(1, n, n); };
  for (const Activation activation :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh}) {
    for (const bool keep_output : {true, false}) {
      const at::Tensor gate_up = window(2 * n), out = window(n), grad = window(n);
      const at::Tensor ggate_up = on_gpu(gate_up), gout = on_gpu(out), ggrad = on_gpu(grad);
      glu(out, gate(gate_up), up(gate_up), activation);
      glu(gout, gate(ggate_up), up(ggate_up), activation);
      expect_equal(gout, out);
      glu_backward(gate(gate_up), up(gate_up), grad, activation, keep_output);
      glu_backward(gate(ggate_up), up(ggate_up), ggrad, activation, keep_output);
      expect_equal(ggate_up, gate_up);
      expect_equal(ggrad, grad);
    }
  }
}

TEST_P(Gpu, CrossEntropyMatchesCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  const at::Tensor targets = at::randint(0, n, {rows}, at::kLong);
  const at::Tensor loss = at::empty({rows});
  if (rows > 2) targets[2] = -1;  // counts for nothing
  const at::Tensor scale = at::scalar_tensor(0.125F);
  for (const double soft_cap : {0.0, 15.0}) {
    const at::Tensor logits = window(n) * 10;
    const at::Tensor glogits = on_gpu(logits), gloss = loss.cuda();
    cross_entropy(loss, logits, targets, scale, soft_cap);
    cross_entropy(gloss, glogits, targets.cuda(), scale.cuda(), soft_cap);
    expect_equal(gloss, loss, 10);  // of logits of about 10
    expect_equal(glogits, logits, 0.125);
  }
}

// Rows of many equal logits too, as rounding to bf16 makes them, and of one that is sure.
TEST_P(Gpu, WeighedCrossEntropyMatchesCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  const at::Tensor targets = at::randint(0, n, {rows}, at::kLong);
  const at::Tensor loss = at::empty({rows});
  if (rows > 2) targets[2] = -1;
  const at::Tensor scale = at::scalar_tensor(0.125F);
  for (const double soft_cap : {0.0, 15.0}) {
    for (const double size : {10.0, 1.0}) {
      const at::Tensor logits = window(n) * size;
      if (rows > 1) logits[1].fill_(0.5);
      if (rows > 3) logits[3].copy_((logits[3] * 2).round());
      if (rows > 4) logits[4][0] = 90;
      const at::Tensor glogits = on_gpu(logits), gloss = loss.cuda();
      cross_entropy(loss, logits, targets, scale, soft_cap, 1.5);
      cross_entropy(gloss, glogits, targets.cuda(), scale.cuda(), soft_cap, 1.5);
      expect_equal(gloss, loss, 10);
      expect_equal(glogits, logits, 0.125);
    }
  }
}

TEST_P(Gpu, EmbeddingMatchesCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  const at::Tensor out = window(n), grad = window(n);
  // Few ids: most come again and again, some never.
  const at::Tensor ids = at::randint(0, 5, {rows}, at::kLong), gids = ids.cuda();
  for (const at::ScalarType stored : {type, at::kFloat}) {
    const at::Tensor table = at::randn({9, n}).to(stored);
    const at::Tensor gout = on_gpu(out);
    embedding(out, table, ids);
    embedding(gout, table.cuda(), gids);
    EXPECT_TRUE(gout.cpu().equal(out));
  }
  const at::Tensor sum = at::randn({9, n}), gsum = sum.cuda(), again = sum.cuda();
  const at::Tensor ggrad = on_gpu(grad);
  embedding_backward(sum, grad, ids);
  embedding_backward(gsum, ggrad, gids);
  embedding_backward(again, ggrad, gids);
  expect_equal(gsum, sum, static_cast<double>(1 + rows));
  EXPECT_TRUE(again.equal(gsum));
}

TEST_P(Gpu, GemmMatchesCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  const std::int64_t k = n + 8;
  const at::Tensor a = window(k);
  const at::Tensor b = at::randn({n, k + padding}).to(type).narrow(1, 0, k);
  const at::Tensor added = window(n), c = window(n);
  const at::Tensor ga = on_gpu(a), gb = on_gpu(b), gadded = on_gpu(added), gc = on_gpu(c);
  gemm(c, a, b.t(), {.alpha = 0.5, .beta = 1});
  gemm(gc, ga, gb.t(), {.alpha = 0.5, .beta = 1});
  expect_equal(gc, c);
  gemm_add(c, a, b.t(), added);
  gemm_add(gc, ga, gb.t(), gadded);
  expect_equal(gc, c);
  // The gradient of a factor: 16-bit operands, a transpose, an fp32 sum.
  const at::Tensor sum = at::randn({k, n}), gsum = sum.cuda();
  gemm(sum, a.t(), c, {.alpha = 2, .beta = 1});
  gemm(gsum, ga.t(), on_gpu(c), {.alpha = 2, .beta = 1});
  // fp32 sums of `rows` products of about one, of which the fp32 route of the GPU keeps 24 bits.
  if (rows > 0) {
    EXPECT_LT((gsum.cpu() - sum).abs().max().item<double>(),
              1e-5 * (1 + sum.abs().max().item<double>()));
  }
}

// The first product of a kind tries several algorithms, the later ones use what it found, also for
// another number of rows; no trial may be seen in a result.
TEST_P(Gpu, PlannedGemmMatchesUnplanned) {
  const auto& [type, rows, n, padding] = GetParam();
  const GemmPlans plans;
  const at::Tensor b = on_gpu(at::randn({n, n + padding}).to(type).narrow(1, 0, n));
  for (const std::int64_t used : {rows, rows, rows - 1}) {
    if (used < 0) continue;
    const at::Tensor a = on_gpu(window(n)).narrow(0, 0, used);
    const at::Tensor planned = on_gpu(window(n)).narrow(0, 0, used);
    const at::Tensor plain = planned.clone();
    gemm(planned, a, b.t(), {.alpha = 0.5, .beta = 1, .plans = &plans});
    gemm(plain, a, b.t(), {.alpha = 0.5, .beta = 1});
    expect_equal(planned, plain.cpu());
  }
}

// What is kept is used again, so that the next process has the same results to the last bit, and
// writes nothing.
// The products of SmolLM2-135M's, Qwen2.5-0.5B's and a 7B's layers, whose widths are and are not
// whole tiles, for any number of tokens.
TEST(GpuFloat8, ProductsAtTheWidthsOfModels) {
  if (at::getNumGPUs() == 0 || !multiplies_float8(at::Device(at::kCUDA, 0)))
    GTEST_SKIP() << "no GPU with tensor cores for float8";
  struct Widths {
    std::int64_t in, out;
  };
  for (const Widths& widths : std::vector<Widths>{{576, 960},
                                                  {576, 576},
                                                  {576, 3072},
                                                  {1536, 576},
                                                  {896, 1152},
                                                  {896, 9728},
                                                  {4864, 896},
                                                  {4096, 11008}}) {
    for (const std::int64_t tokens : {1, 3, 17, 127, 130, 255, 600, 1801, 2102, 3699, 5604, 8191}) {
      for (const bool turned : {false, true}) {
        const std::int64_t n = turned ? widths.in : widths.out;
        const std::int64_t k = turned ? widths.out : widths.in;
        SCOPED_TRACE(std::to_string(tokens) + " x " + std::to_string(n) + " x " +
                     std::to_string(k));
        const at::TensorOptions like = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
        const auto drawn = [&](std::int64_t rows) {
          const ScaledRows result{at::empty({rows, k}, like.dtype(at::kFloat8_e4m3fn)),
                                  at::empty({rows}, like.dtype(at::kFloat))};
          quantise_rows(result, at::randn({rows, k}, like));
          return result;
        };
        const auto meant = [](const ScaledRows& x) {
          return x.codes.to(at::kFloat) * x.scales.unsqueeze(1);
        };
        const ScaledRows a = drawn(tokens), b = drawn(n);
        const at::Tensor d = at::empty({tokens, n}, like), added = at::randn({tokens, n}, like);
        gemm_float8(d, a, b, added, /*alpha=*/0.5);
        const at::Tensor expected = 0.5 * at::mm(meant(a), meant(b).t()) + added.to(at::kFloat);
        const at::Tensor error = d.to(at::kFloat) - expected;
        ASSERT_LT(error.norm().item<double>(), 5e-3 * expected.norm().item<double>());
      }
    }
  }
}

TEST(KeptPlans, AreThoseOfTheNextProcess) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const testing::TemporaryDirectory folder;
  const at::Tensor a = at::randn({640, 576}, at::TensorOptions(at::kCUDA).dtype(at::kBFloat16));
  const at::Tensor b = at::randn({576, 1536}, at::TensorOptions(at::kCUDA).dtype(at::kBFloat16));
  const auto product = [&] {
    const GemmPlans plans(folder.path() / "corda");
    const at::Tensor c = at::empty({640, 1536}, a.options());
    gemm(c, a, b, {.plans = &plans});
    return c;
  };
  const auto files = [&] {
    std::vector<std::pair<std::string, std::filesystem::file_time_type>> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "corda"))
      found.emplace_back(entry.path().filename().string(), entry.last_write_time());
    return found;
  };
  const at::Tensor first = product();
  const auto kept = files();
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_TRUE(kept[0].first.starts_with("gemm-"));
  EXPECT_TRUE(product().equal(first));
  EXPECT_EQ(files(), kept);
}

TEST_P(Gpu, WindowCopiesMatchCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  WindowCopies cpu, gpu;
  std::vector<std::pair<at::Tensor, at::Tensor>> results;
  // Windows of several blocks and of less than one.
  for (const std::int64_t count : {rows, std::int64_t{1}, 3 * rows}) {
    if (count == 0) continue;  // a window has at least one element
    const at::Tensor from = at::randn({count, n});
    const at::Tensor to = at::zeros({count, n + padding}).to(type);
    const at::Tensor gto = to.cuda();
    cpu.add(from, to.narrow(1, 0, n), 0.75);
    gpu.add(from.cuda(), gto.narrow(1, 0, n), 0.75);
    results.emplace_back(gto, to);
  }
  cpu.run();
  gpu.run();
  for (const auto& [actual, expected] : results) EXPECT_TRUE(actual.cpu().equal(expected));
}

TEST_P(Gpu, CopiedRowsMatchCpu) {
  const auto& [type, rows, n, padding] = GetParam();
  const at::Tensor from = at::randn({rows, n + 2 * padding}).to(type);
  const at::Tensor to = at::zeros({rows, n + padding}).to(type);
  const at::Tensor gto = to.cuda();
  copy_rows(to.narrow(1, padding, n), from.narrow(1, padding, n));
  copy_rows(gto.narrow(1, padding, n), from.cuda().narrow(1, padding, n));
  EXPECT_TRUE(gto.cpu().equal(to));
  EXPECT_TRUE(to.narrow(1, padding, n).equal(from.narrow(1, padding, n)));
}

TEST(GpuPackLower, TakesWhatStandsOnAndBelowTheDiagonal) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  for (const std::int64_t n : {1, 3, 255, 256, 257, 1100}) {
    const at::Tensor c = at::randn({n, n});
    EXPECT_TRUE(pack_lower(c.cuda()).cpu().equal(pack_lower(c))) << n;
  }
}

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t rows : {0, 1, 77})
      for (const std::int64_t n : {8, 13, 264, 4096})
        for (const std::int64_t padding : {0, 16, 3}) result.push_back({type, rows, n, padding});
  }
  // Several launches of a grid of rows, and several rounds of a block over one.
  result.push_back({at::kBFloat16, 70001, 8, 0});
  result.push_back({at::kBFloat16, 3, 4608, 0});
  // Rows that a warp just holds, and just not.
  result.push_back({at::kBFloat16, 77, 576, 16});
  result.push_back({at::kBFloat16, 9, 1024, 0});
  result.push_back({at::kBFloat16, 9, 1032, 0});
  result.push_back({at::kFloat, 9, 512, 16});
  // Heads, which 16 or 32 lanes hold.
  result.push_back({at::kBFloat16, 77, 128, 0});
  result.push_back({at::kFloat, 77, 128, 16});
  result.push_back({at::kBFloat16, 5, 192, 16});
  return result;
}

INSTANTIATE_TEST_SUITE_P(Sizes, Gpu, ::testing::ValuesIn(cases()), [](const auto& tested) {
  const Case& c = tested.param;
  return std::string(c.type == at::kFloat ? "fp32" : "bf16") + "_" + std::to_string(c.rows) + "x" +
         std::to_string(c.n) + "_" + std::to_string(c.padding);
});

}  // namespace
}  // namespace corda::kernels

// Chooses a token from the logits of a model's distinct rows.
#include <cmath>
#include <cstring>

#include "hiding.h"

namespace {

double log_total(const gt_model& model, const float* logits, float largest) {
  const double mass = model.kernels->mass(logits, model.top.counts, largest, 1.0f, model.distinct);
  return std::log(mass) + static_cast<double>(largest);
}

// Finds the row in which the running sum of weights passes `uniform` times the total, and where within the row's share.
void draw(const gt_model& model, const float* logits, const float* counts, float largest, gt_draw* result) {
  const float factor = 1.0f / std::fmax(result->temperature, 1e-20f);
  constexpr int64_t kStretch = 512;
  const auto mass = [&](int64_t from, int64_t count) {
    return model.kernels->mass(logits + from, counts + from, largest, factor, count);
  };
  double* sums = reinterpret_cast<double*>(model.weights.get());
  const int64_t stretches = (model.distinct + kStretch - 1) / kStretch;
  const auto length = [&](int64_t s) { return s + 1 < stretches ? kStretch : model.distinct - s * kStretch; };
  double total = 0;
  for (int64_t s = 0; s < stretches; s++) total += sums[s] = mass(s * kStretch, length(s));
  double rest = result->uniform * total;
  int64_t s = 0, last = 0;
  for (; s < stretches; s++) {
    if (sums[s] > 0) last = s;
    if (rest < sums[s]) break;
    rest -= sums[s];
  }
  if (s == stretches) s = last;  // rounding moved the point to the end
  for (int64_t i = s * kStretch; i < s * kStretch + length(s); i++) {
    const double weight = mass(i, 1);
    if (weight <= 0) continue;
    result->row = static_cast<int32_t>(i);
    result->within = std::fmin(rest / weight, 1.0 - 1e-9);
    if (rest < weight) return;
    rest -= weight;
  }
}

}  // namespace

double gt_log_total(gt_model* model) {
  const float* logits = model->logits.get();
  return log_total(*model, logits, model->kernels->largest(logits, model->known));
}

int32_t gt_sample(gt_model* model, gt_draw* result) {
  const float* logits = model->logits.get();
  const float* used = model->top.used;
  result->row = -1;
  result->within = 0;
  const native::Hiding hiding(*model, *result);
  if (!hiding.done()) return GT_OUTSIDE;
  const float largest = model->kernels->largest(logits, model->known);
  result->log_total = log_total(*model, logits, largest);
  if (!std::isfinite(result->log_total)) return 0;
  const auto best = static_cast<int32_t>(model->kernels->likeliest(logits, used, model->distinct));
  if (best >= 0 && result->temperature == 0.0f) result->row = best;
  if (best >= 0 && result->temperature > 0.0f) draw(*model, logits, used, logits[best], result);
  if (result->row >= 0) result->logit = logits[result->row];
  return 0;
}

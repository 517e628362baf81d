// Chooses a token without reading all of the unembedding. A coarse copy gives a bound for each row's logit; only rows
// that can matter are read in full: those that would be chosen if their coarse logit were too low by six standard
// deviations of the rounding error.
//
// A random draw is a contest too: each row has a number from the exponential distribution, and the row with the largest
// weight divided by its number wins, which draws each row in proportion to its weight. The numbers depend on the draw
// alone. In the sum of all weights, rows with a small share count by their coarse logits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "hiding.h"
#include "pool.h"

namespace native {
namespace {

constexpr int64_t kStretch = 1024;     // rows that are handled together
constexpr double kLargeShare = 0.001;  // rows with at least this share of the sum of weights are read
constexpr float kDeviations = 6.0f;
constexpr float kMostMargin = 50.0f;   // exp of it is still a float
constexpr float kSmallest = 1e-27f;    // rows with smaller weights may have been rounded to zero
constexpr size_t kFewGroups = 16;      // groups that one thread reads by itself

struct Screening {
  gt_model& model;
  const float* state;
  Screen screen;
  std::vector<float> tops;
  std::vector<double> sums;
  Activations x{};  // of the first thread
  std::atomic<int64_t> next{0}, next_stretch{0};
};

float norm_of(const Activations& x, int64_t columns) {
  double total = 0;
  for (int64_t b = 0; b < columns / kBlock; b++) {
    int32_t squares = 0;
    for (int i = 0; i < kBlock; i++) squares += x.quantized[b * kBlock + i] * x.quantized[b * kBlock + i];
    total += static_cast<double>(squares) * static_cast<double>(x.scale[b]) * static_cast<double>(x.scale[b]);
  }
  return static_cast<float>(std::sqrt(total));
}

// Computes the coarse logits, the largest of them, then the bound of each row.
void screen_job(void* context, int thread, int threads) {
  Screening& s = *static_cast<Screening*>(context);
  gt_model& model = s.model;
  const Kernels& k = *model.kernels;
  const Activations x = head_activations(model, thread, s.state);
  s.tops[static_cast<size_t>(thread)] = multiply_head(model, model.coarse, x, s.next);
  Screen screen = s.screen;  // before any thread may write it
  pool_barrier(model.pool);
  screen.size = norm_of(x, model.coarse.columns);
  screen.largest = *std::max_element(s.tops.begin(), s.tops.begin() + threads);
  const auto stretches = static_cast<int64_t>(s.sums.size());
  for (int64_t i = s.next_stretch.fetch_add(1); i < stretches; i = s.next_stretch.fetch_add(1)) {
    s.sums[static_cast<size_t>(i)] = k.screen(screen, i * kStretch, std::min(kStretch, model.distinct - i * kStretch));
  }
  if (thread != 0) return;
  s.screen = screen;
  s.x = x;
}

// Compares rows by their exact logits.
struct Contest {
  const Screen& screen;
  gt_draw* result;
  double total;                  // of the weights of all ids
  float best = -INFINITY;

  // Enters the rows of a group, whose exact logits are `exact`.
  void enter(int64_t group, const float* exact) {
    for (int64_t i = 0; i < kGroup; i++) {
      const int64_t row = group * kGroup + i;
      const float coarse = screen.coarse[row];
      const auto weight = [&](float logit) { return std::exp(static_cast<double>(logit - screen.largest)); };
      total += static_cast<double>(screen.counts[row]) * (weight(exact[i]) - weight(coarse));
      if (screen.used[row] <= 0) continue;
      const float value =
          screen.factor == 0 ? exact[i] : screen.reach[row] * std::exp((exact[i] - coarse) * screen.factor);
      if (!(value > best || (value == best && row < result->row))) continue;
      best = value;
      result->row = static_cast<int32_t>(row);
      result->logit = exact[i];
    }
  }
};

// The groups with a row whose bound reaches `bar`, or whose coarse logit is at least `near`.
std::vector<int64_t> groups_to_read(const gt_model& model, const Screen& s, float bar, float near) {
  std::vector<int64_t> groups;
  for (int64_t first = 0; first < model.known; first += kStretch) {
    const int64_t count = std::min(kStretch, model.known - first);
    if (model.kernels->largest(s.reach + first, count) < bar && model.kernels->largest(s.coarse + first, count) < near) {
      continue;
    }
    for (int64_t row = first; row < first + count; row++) {
      if (s.reach[row] < bar && s.coarse[row] < near) continue;
      groups.push_back(row / kGroup);
      row = row / kGroup * kGroup + kGroup - 1;
    }
  }
  return groups;
}

// Computes the exact logits of some groups.
std::vector<float> read_groups(gt_model& model, const Screening& s, const std::vector<int64_t>& groups) {
  std::vector<float> logits(groups.size() * kGroup);
  const auto read = [&](int thread, int threads) {
    const Span mine = span(static_cast<int64_t>(groups.size()), thread, threads);
    for (int64_t i = mine.begin; i < mine.end; i++) {
      const int64_t group = groups[static_cast<size_t>(i)];
      product(model, model.unembedding, 0, {group, group + 1}, s.x, logits.data() + i * kGroup);
    }
  };
  if (groups.size() <= kFewGroups) {
    read(0, 1);
  } else {
    run_on_all(model.pool, read);
  }
  return logits;
}

// Two words from the bits of a number (splitmix64).
void key_of(double uniform, uint32_t* key) {
  uint64_t x;
  std::memcpy(&x, &uniform, sizeof x);
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  x ^= x >> 31;
  key[0] = static_cast<uint32_t>(x);
  key[1] = static_cast<uint32_t>(x >> 32);
}

// Selects one of the drawn row's ids, by another random number.
double place_in_row(double uniform) {
  uint32_t key[2];
  key_of(uniform + 1.0, key);
  return static_cast<double>(key[0]) * 0x1p-32;
}

// The factor for a row's doubt times the norm of the activations: rounding errors have a random direction.
float deviations(const gt_model& model) { return kDeviations / std::sqrt(static_cast<float>(model.config.hidden)); }

Screen screen_of(const gt_model& model, const gt_draw& draw) {
  Screen s{};
  s.coarse = model.logits.get();
  s.doubt = model.top.doubt;
  s.counts = model.top.counts;
  s.used = model.top.used;
  s.deviations = deviations(model);
  s.factor = draw.temperature > 0 ? 1.0f / draw.temperature : 0.0f;
  s.reach = model.weights.get();
  key_of(draw.uniform, s.key);
  return s;
}

// Returns false, without a choice, if too much would have to be read.
bool choose_coarsely(gt_model& model, const float* state, gt_draw* result) {
  const auto threads = static_cast<size_t>(pool_threads(model.pool));
  Screening s{model, state, screen_of(model, *result), std::vector<float>(threads),
              std::vector<double>(static_cast<size_t>((model.distinct + kStretch - 1) / kStretch))};
  pool_run(model.pool, screen_job, &s);
  Contest contest{s.screen, result, 0};
  for (const double sum : s.sums) contest.total += sum;
  const int64_t front = model.kernels->likeliest(s.screen.reach, s.screen.used, model.known);
  if (!std::isfinite(contest.total)) return true;
  if (front < 0) return s.screen.factor == 0;  // nothing is allowed, or all of it was rounded to nothing
  const float margin = s.screen.deviations * model.most_doubt * s.screen.size * s.screen.factor;
  if (margin > kMostMargin) return false;

  const std::vector<int64_t> first{front / kGroup};
  contest.enter(first[0], read_groups(model, s, first).data());
  const float bar = contest.best * std::exp(-margin);
  // A forbidden row may be so far ahead that the allowed rows have hardly any weight.
  if (s.screen.factor > 0 && !(bar > kSmallest)) return false;
  const float near = s.screen.largest + static_cast<float>(std::log(contest.total * kLargeShare));
  std::vector<int64_t> groups = groups_to_read(model, s.screen, s.screen.factor > 0 ? bar : contest.best, near);
  if (static_cast<int64_t>(groups.size()) > model.known / kGroup / 4) return false;
  groups.erase(std::remove(groups.begin(), groups.end(), first[0]), groups.end());
  const std::vector<float> logits = read_groups(model, s, groups);
  for (size_t i = 0; i < groups.size(); i++) contest.enter(groups[i], logits.data() + i * kGroup);
  result->log_total = std::log(contest.total) + static_cast<double>(s.screen.largest);
  if (!std::isfinite(result->log_total) || !std::isfinite(result->logit)) result->row = -1;
  // Without a random draw, it is the first of the row's ids.
  if (s.screen.factor > 0) result->within = place_in_row(result->uniform);
  return true;
}

// The same contest with the same numbers over all exact logits, in place of gt_sample's draw. How much has to be read
// depends on the numbers, so drawing with others here would make some rows likelier than they are.
void draw_of_all(gt_model& model, gt_draw* result) {
  Screen s = screen_of(model, *result);
  s.largest = s.coarse[model.kernels->likeliest(s.coarse, s.used, model.known)];
  for (int64_t at = 0; at < model.distinct; at += kStretch) {
    model.kernels->screen(s, at, std::min(kStretch, model.distinct - at));
  }
  result->row = static_cast<int32_t>(model.kernels->likeliest(s.reach, s.used, model.known));
  result->logit = s.coarse[result->row];
  result->within = place_in_row(result->uniform);
}

}  // namespace
}  // namespace native

int32_t gt_choose(gt_model* model, int32_t index, gt_draw* result) try {
  if (index < 0 || index >= model->config.chunk) return GT_OUTSIDE;
  result->row = -1;
  result->within = 0;
  const native::Hiding hiding(*model, *result);
  if (!hiding.done()) return GT_OUTSIDE;
  // Temperatures too small for the contest in float take the other way.
  const bool coarse = model->coarse.data != nullptr && (result->temperature == 0 || result->temperature > 1e-6f);
  if (coarse && native::choose_coarsely(*model, model->states.get() + index * model->hidden, result)) return 0;
  gt_logits(model, index);
  gt_sample(model, result);
  if (coarse && result->temperature > 0 && result->row >= 0) native::draw_of_all(*model, result);
  return 0;
} catch (...) {
  return GT_NO_MEMORY;
}

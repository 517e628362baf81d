// Runs one token through all layers as one job of the pool, whose threads synchronize a few times per layer.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "model.h"

namespace native {

namespace {

struct Step {
  gt_model& model;
  const gt_cache& cache;
  int32_t token;
  int64_t position;
  int32_t (*cancelled)(void);
  std::atomic<bool> stopped{false};
};

// What one thread works with during a step.
struct Hand {
  gt_model& model;
  int thread, threads;
  float* normed;    // the activations for the next product; each thread computes them for itself
  float* products;  // results of a stretch of groups
  float* scratch;   // of attention
};

constexpr int64_t kGroupsAtOnce = 8;  // results that wait for their bias or their gate

void meet(const Hand& hand) {
  if (hand.threads > 1) pool_barrier(hand.model.pool);
}

// Quantizes `values` to int8 if products with `w` need it.
Activations prepare(const Hand& hand, const Matrix& w, int slot, float* values) {
  if (!takes_int8(hand.model, w)) return {values, nullptr, nullptr, nullptr};
  const Activations x = activations(hand.model, hand.thread, slot, values, w.columns);
  hand.model.kernels->quantize(x, w.columns);
  return x;
}

// Computes this thread's rows of to = w x + bias, or to += w x + bias if `add` is set.
void rows(const Hand& hand, const Matrix& w, const Activations& x, float* to, bool add) {
  const Span mine = span(w.rows / kGroup, hand.thread, hand.threads);
  for (int64_t g = mine.begin; g < mine.end; g += kGroupsAtOnce) {
    const int64_t end = g + kGroupsAtOnce < mine.end ? g + kGroupsAtOnce : mine.end;
    const int64_t first = g * kGroup, count = (end - g) * kGroup;
    product(hand.model, w, 0, {g, end}, x, hand.products);
    if (!add) std::memset(to + first, 0, static_cast<size_t>(count) * sizeof(float));
    hand.model.kernels->add(hand.products, w.bias + first, 1.0f, count, to + first);
  }
}

void attention(const Hand& hand, Step& step, int32_t index) {
  gt_model& model = hand.model;
  const Layer& layer = model.layers[index];
  float* state = model.states.get();
  model.kernels->rms_norm(state, layer.attn_norm, model.hidden, hand.normed);
  rows(hand, layer.qkv, prepare(hand, layer.qkv, kValuesSlot, hand.normed), model.heads.get(), false);
  meet(hand);
  const Span heads = span(model.config.kv_heads, hand.thread, hand.threads);
  for (int64_t head = heads.begin; head < heads.end; head++) {
    place_heads(model, step.cache, index, step.position, static_cast<int32_t>(head), model.heads.get());
    attend(model, step.cache, index, step.position, static_cast<int32_t>(head), model.heads.get(), model.mixed.get(),
           hand.scratch);
  }
  meet(hand);
  rows(hand, layer.out, prepare(hand, layer.out, kValuesSlot, model.mixed.get()), state, true);
  meet(hand);
}

// Computes this thread's share of the gate and linear rows of all chosen experts, and their activation.
void raise(const Hand& hand, const Layer& layer, const Chosen& chosen, const Activations& x) {
  gt_model& model = hand.model;
  const int64_t pairs = layer.up.rows / (2 * kGroup);
  const Span mine = span(pairs * model.config.experts_per_token, hand.thread, hand.threads, 2);
  for (int64_t at = mine.begin; at < mine.end;) {
    const int64_t slot = at / pairs, pair = at % pairs;
    int64_t count = kGroupsAtOnce / 2;
    if (count > pairs - pair) count = pairs - pair;
    if (count > mine.end - at) count = mine.end - at;
    const int32_t expert = chosen.expert[slot];
    product(model, layer.up, expert, {2 * pair, 2 * (pair + count)}, x, hand.products);
    const float* bias = layer.up.bias + expert * layer.up.rows + pair * 2 * kGroup;
    model.kernels->swiglu(hand.products, bias, count, model.config.swiglu_limit,
                          model.raised.get() + slot * model.inner + pair * kGroup);
    at += count;
  }
}

// Adds the weighted sum of the chosen experts' down projections to this thread's rows of the state.
void lower(const Hand& hand, const Layer& layer, const Chosen& chosen) {
  gt_model& model = hand.model;
  const int32_t count = model.config.experts_per_token;
  Activations x[kMaxExpertsPerToken];
  for (int32_t k = 0; k < count; k++) x[k] = prepare(hand, layer.down, kExpertSlot + k, model.raised.get() + k * model.inner);
  const Span mine = span(layer.down.rows / kGroup, hand.thread, hand.threads);
  for (int64_t g = mine.begin; g < mine.end; g += kGroupsAtOnce) {
    const int64_t end = g + kGroupsAtOnce < mine.end ? g + kGroupsAtOnce : mine.end;
    for (int32_t k = 0; k < count; k++) {
      const int32_t expert = chosen.expert[k];
      product(model, layer.down, expert, {g, end}, x[k], hand.products);
      model.kernels->add(hand.products, layer.down.bias + expert * layer.down.rows + g * kGroup, chosen.weight[k],
                         (end - g) * kGroup, model.states.get() + g * kGroup);
    }
  }
}

void experts(const Hand& hand, int32_t index) {
  gt_model& model = hand.model;
  const Layer& layer = model.layers[index];
  model.kernels->rms_norm(model.states.get(), layer.mlp_norm, model.hidden, hand.normed);
  rows(hand, layer.router, {hand.normed, nullptr, nullptr, nullptr}, model.scores.get(), false);
  meet(hand);
  const Chosen chosen = choose(model, model.scores.get());
  raise(hand, layer, chosen, prepare(hand, layer.up, kValuesSlot, hand.normed));
  meet(hand);
  lower(hand, layer, chosen);
  meet(hand);
}

Hand hand_of(gt_model& model, int thread, int threads) {
  const auto room = [&](int slot, int64_t count) {
    return static_cast<float*>(pool_scratch(model.pool, thread, slot, static_cast<size_t>(count) * sizeof(float)));
  };
  return {model, thread, threads, room(kNormedSlot, model.hidden),
          room(kProductsSlot, kGroupsAtOnce * kGroup), room(kAttentionSlot, attend_scratch(model.config.heads / model.config.kv_heads, model.config.head_dim))};
}

void step_job(void* context, int thread, int threads) {
  Step& step = *static_cast<Step*>(context);
  gt_model& model = step.model;
  const Hand hand = hand_of(model, thread, threads);
  if (thread == 0) load_embedding(model, step.token, model.states.get());
  meet(hand);
  for (int32_t layer = 0; layer < model.config.layers; layer++) {
    if (thread == 0 && step.cancelled != nullptr && step.cancelled() != 0) step.stopped.store(true);
    attention(hand, step, layer);
    if (step.stopped.load()) return;  // set before the last barrier, so all threads see it
    experts(hand, layer);
  }
}

struct Head {
  gt_model& model;
  const float* state;
  std::atomic<int64_t> next{0};
};

constexpr int64_t kDrawnBytes = 256 << 10;  // bytes of the unembedding that a thread takes at once

void head_job(void* context, int thread, int) {
  Head& head = *static_cast<Head*>(context);
  const Matrix& w = head.model.unembedding;
  multiply_head(head.model, w, head_activations(head.model, thread, head.state), head.next);
}

}  // namespace

Activations head_activations(gt_model& model, int thread, const float* state) {
  const Hand hand = hand_of(model, thread, 1);
  model.kernels->rms_norm(state, model.top.norm, model.hidden, hand.normed);
  return prepare(hand, model.unembedding, kValuesSlot, hand.normed);
}

float multiply_head(gt_model& model, const Matrix& w, const Activations& x, std::atomic<int64_t>& next) {
  // Threads take rows dynamically, so that one that has to wait for its processor delays only the rows it has taken.
  const int64_t step = round_up(kDrawnBytes / w.group_bytes + 1, 4), groups = w.rows / kGroup;
  float largest = -INFINITY;
  for (int64_t g = next.fetch_add(step); g < groups; g = next.fetch_add(step)) {
    const int64_t end = std::min(g + step, groups), known = std::min(end * kGroup, model.known);
    float* logits = model.logits.get() + g * kGroup;
    product(model, w, 0, {g, end}, x, logits);
    largest = std::max(largest, model.kernels->largest(logits, known - g * kGroup));
  }
  return largest;
}

int32_t run_token(gt_model& model, const gt_cache& cache, int32_t token, int64_t position, int32_t (*cancelled)(void)) {
  Step step{model, cache, token, position, cancelled};
  const auto run = [&](bool shared) {
    if (shared) {
      pool_run(model.pool, step_job, &step);
    } else {
      step_job(&step, 0, 1);
    }
  };
  if (model.small && pool_threads(model.pool) > 1) {
    model.pace.timed(run);
  } else {
    run(true);
  }
  return step.stopped.load() ? 1 : 0;
}

}  // namespace native

const float* gt_logits(gt_model* model, int32_t index) {
  if (index < 0 || index >= model->config.chunk) return nullptr;
  native::Head head{*model, model->states.get() + index * model->hidden};
  native::pool_run(model->pool, native::head_job, &head);
  return model->logits.get();
}

// Runs several tokens through all layers, layer by layer: each product is a job of the pool over all tokens.
#include <cstring>

#include "model.h"
#include "pool.h"

namespace native {

namespace {

void norm_rows(gt_model& model, const float* scale, int32_t count) {
  run_on_all(model.pool, [&](int thread, int threads) {
    const Span mine = span(count, thread, threads);
    for (int64_t t = mine.begin; t < mine.end; t++) {
      model.kernels->rms_norm(model.states.get() + t * model.hidden, scale, model.hidden,
                              model.normed.get() + t * model.hidden);
    }
  });
}

void attend_all(gt_model& model, const gt_cache& cache, int32_t index, int32_t count, int64_t position) {
  const ChunkAttention chunk = chunk_attention(model, cache, index, position, count);
  if (attends(chunk)) return model.prefill->attend(model.pool, chunk);
  run_on_all(model.pool, [&](int thread, int threads) {
    auto* scratch = static_cast<float*>(pool_scratch(model.pool, thread, kAttentionSlot,
        static_cast<size_t>(attend_scratch(model.config.heads / model.config.kv_heads, model.config.head_dim)) * sizeof(float)));
    // Tokens are dealt out to the threads in turn, since later ones see more keys than earlier ones.
    for (int32_t head = 0; head < model.config.kv_heads; head++) {
      for (int64_t t = thread; t < count; t += threads) {
        attend(model, cache, index, position + t, head, model.heads.get() + t * model.qkv,
               model.mixed.get() + t * model.query, scratch);
      }
    }
  });
}

void attention(gt_model& model, const gt_cache& cache, int32_t index, int32_t count, int64_t position) {
  const Layer& layer = model.layers[index];
  const int32_t kv_heads = model.config.kv_heads;
  norm_rows(model, layer.attn_norm, count);
  model.prefill->dense(model.pool, layer.qkv, model.normed.get(), model.hidden, count, model.heads.get(), model.qkv);
  run_on_all(model.pool, [&](int thread, int threads) {
    const Span mine = span(count, thread, threads);
    for (int64_t t = mine.begin; t < mine.end; t++) {
      for (int32_t head = 0; head < kv_heads; head++) {
        place_heads(model, cache, index, position + t, head, model.heads.get() + t * model.qkv);
      }
    }
  });
  attend_all(model, cache, index, count, position);
  model.prefill->dense(model.pool, layer.out, model.mixed.get(), model.query, count, model.lowered.get(), model.hidden);
  run_on_all(model.pool, [&](int thread, int threads) {
    const Span mine = span(count * model.hidden, thread, threads, kBlock);
    model.kernels->add(model.lowered.get() + mine.begin, nullptr, 1.0f, mine.end - mine.begin,
                       model.states.get() + mine.begin);
  });
}

// Sorts the tokens' choices by expert.
Routing route(gt_model& model, int32_t count) {
  const int32_t per_token = model.config.experts_per_token, experts = model.config.experts;
  std::memset(model.first.data(), 0, model.first.size() * sizeof(int32_t));
  for (int32_t t = 0; t < count; t++) {
    model.chosen[t] = choose(model, model.scores.get() + t * model.experts);
    for (int32_t k = 0; k < per_token; k++) model.first[model.chosen[t].expert[k] + 1]++;
  }
  for (int32_t e = 0; e < experts; e++) model.first[e + 1] += model.first[e];
  std::vector<int32_t> next(model.first.begin(), model.first.end() - 1);
  for (int32_t t = 0; t < count; t++) {
    for (int32_t k = 0; k < per_token; k++) {
      const int32_t pair = next[model.chosen[t].expert[k]]++;
      model.token[pair] = t;
      model.place[t * per_token + k] = pair;
    }
  }
  return {count, experts, per_token, model.first.data(), model.token.data()};
}

void experts(gt_model& model, int32_t index, int32_t count) {
  const Layer& layer = model.layers[index];
  norm_rows(model, layer.mlp_norm, count);
  model.prefill->dense(model.pool, layer.router, model.normed.get(), model.hidden, count, model.scores.get(), model.experts);
  const Routing routing = route(model, count);
  model.prefill->experts_up(model.pool, layer.up, routing, model.normed.get(), model.hidden, model.raised.get(),
                            model.inner, model.config.swiglu_limit);
  model.prefill->experts_down(model.pool, layer.down, routing, model.raised.get(), model.inner, model.lowered.get(),
                              model.hidden);
  run_on_all(model.pool, [&](int thread, int threads) {
    const Span mine = span(count, thread, threads);
    for (int64_t t = mine.begin; t < mine.end; t++) {
      for (int32_t k = 0; k < routing.per_token; k++) {
        const float* from = model.lowered.get() + model.place[t * routing.per_token + k] * model.hidden;
        model.kernels->add(from, nullptr, model.chosen[t].weight[k], model.hidden,
                           model.states.get() + t * model.hidden);
      }
    }
  });
}

}  // namespace

int32_t run_chunk(gt_model& model, const gt_cache& cache, const int32_t* tokens, int32_t count, int64_t position,
                  int32_t (*cancelled)(void)) {
  for (int32_t t = 0; t < count; t++) load_embedding(model, tokens[t], model.states.get() + t * model.hidden);
  for (int32_t layer = 0; layer < model.config.layers; layer++) {
    if (cancelled != nullptr && cancelled() != 0) return 1;
    attention(model, cache, layer, count, position);
    experts(model, layer, count);
  }
  return 0;
}

}  // namespace native

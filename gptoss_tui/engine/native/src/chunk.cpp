// Some tokens through all layers, layer by layer: each product is a job of the pool over all tokens.
#include <cstring>

#include "model.h"

namespace native {

namespace {

// Runs `work(thread, threads)` on all threads.
template <typename Work>
void on_all(Pool* pool, Work work) {
  pool_run(pool, [](void* context, int thread, int threads) { (*static_cast<Work*>(context))(thread, threads); }, &work);
}

// ---- products through the decode kernels, where there are none for prefill: a group of rows stays in the cache while
// all tokens pass it.

struct Prepared {
  gt_model& model;
  std::vector<int8_t> memory;
  int64_t stride, blocks;

  // The int8 parts of `count` rows of x.
  Prepared(gt_model& m, const Matrix& w, const float* x, int64_t x_stride, int64_t count)
      : model(m), blocks(w.columns / kBlock) {
    stride = w.columns + blocks * 8;
    if (!takes_int8(m, w)) return;
    memory.resize(static_cast<size_t>(stride * count));
    on_all(m.pool, [&](int thread, int threads) {
      const Span mine = span(count, thread, threads);
      for (int64_t t = mine.begin; t < mine.end; t++) m.kernels->quantize(row(t, x + t * x_stride), w.columns);
    });
  }

  Activations row(int64_t t, const float* values) {
    auto* x = const_cast<float*>(values);  // only read
    if (stride * t >= static_cast<int64_t>(memory.size())) return {x, nullptr, nullptr, nullptr};
    int8_t* from = memory.data() + stride * t;
    auto* scale = reinterpret_cast<float*>(from + blocks * kBlock);
    return {x, from, scale, reinterpret_cast<int32_t*>(scale + blocks)};
  }
};

void dense(gt_model& model, const Matrix& w, const float* x, int64_t x_stride, int32_t tokens, float* y,
           int64_t y_stride) {
  if (model.prefill != nullptr) return model.prefill->dense(model.pool, w, x, x_stride, tokens, y, y_stride);
  Prepared prepared(model, w, x, x_stride, tokens);
  on_all(model.pool, [&](int thread, int threads) {
    const Span mine = span(w.rows / kGroup, thread, threads);
    float products[4 * kGroup];
    for (int64_t g = mine.begin; g < mine.end; g += 4) {
      const int64_t end = g + 4 < mine.end ? g + 4 : mine.end, count = (end - g) * kGroup;
      for (int32_t t = 0; t < tokens; t++) {
        float* to = y + t * y_stride + g * kGroup;
        product(model, w, 0, {g, end}, prepared.row(t, x + t * x_stride), products);
        std::memset(to, 0, static_cast<size_t>(count) * sizeof(float));
        model.kernels->add(products, w.bias + g * kGroup, 1.0f, count, to);
      }
    }
  });
}

void experts_up(gt_model& model, const Matrix& w, const Routing& routing, const float* x, int64_t x_stride, float* h,
                int64_t h_stride) {
  const float limit = model.config.swiglu_limit;
  if (model.prefill != nullptr) {
    return model.prefill->experts_up(model.pool, w, routing, x, x_stride, h, h_stride, limit);
  }
  Prepared prepared(model, w, x, x_stride, routing.tokens);
  on_all(model.pool, [&](int thread, int threads) {
    const Span mine = span(w.rows / kGroup, thread, threads, 2);
    float products[2 * kGroup];
    for (int32_t e = 0; e < routing.experts; e++) {
      for (int64_t g = mine.begin; g < mine.end; g += 2) {
        for (int32_t p = routing.first[e]; p < routing.first[e + 1]; p++) {
          const int32_t token = routing.token[p];
          product(model, w, e, {g, g + 2}, prepared.row(token, x + token * x_stride), products);
          model.kernels->swiglu(products, w.bias + e * w.rows + g * kGroup, 1, limit, h + p * h_stride + g / 2 * kGroup);
        }
      }
    }
  });
}

void experts_down(gt_model& model, const Matrix& w, const Routing& routing, const float* h, int64_t h_stride, float* y,
                  int64_t y_stride) {
  if (model.prefill != nullptr) return model.prefill->experts_down(model.pool, w, routing, h, h_stride, y, y_stride);
  Prepared prepared(model, w, h, h_stride, static_cast<int64_t>(routing.tokens) * routing.per_token);
  on_all(model.pool, [&](int thread, int threads) {
    const Span mine = span(w.rows / kGroup, thread, threads);
    float products[4 * kGroup];
    for (int32_t e = 0; e < routing.experts; e++) {
      for (int64_t g = mine.begin; g < mine.end; g += 4) {
        const int64_t end = g + 4 < mine.end ? g + 4 : mine.end, count = (end - g) * kGroup;
        for (int32_t p = routing.first[e]; p < routing.first[e + 1]; p++) {
          float* to = y + p * y_stride + g * kGroup;
          product(model, w, e, {g, end}, prepared.row(p, h + p * h_stride), products);
          std::memset(to, 0, static_cast<size_t>(count) * sizeof(float));
          model.kernels->add(products, w.bias + e * w.rows + g * kGroup, 1.0f, count, to);
        }
      }
    }
  });
}

// ---- a layer ---------------------------------------------------------------------------------------------------------

void norm_rows(gt_model& model, const float* scale, int32_t count) {
  on_all(model.pool, [&](int thread, int threads) {
    const Span mine = span(count, thread, threads);
    for (int64_t t = mine.begin; t < mine.end; t++) {
      model.kernels->rms_norm(model.states.get() + t * model.hidden, scale, model.hidden,
                              model.normed.get() + t * model.hidden);
    }
  });
}

void attend_all(gt_model& model, const gt_cache& cache, int32_t index, int32_t count, int64_t position) {
  const ChunkAttention chunk = chunk_attention(model, cache, index, position, count);
  if (model.prefill != nullptr && attends(chunk)) return model.prefill->attend(model.pool, chunk);
  on_all(model.pool, [&](int thread, int threads) {
    auto* scratch = static_cast<float*>(pool_scratch(model.pool, thread, kAttentionSlot,
        static_cast<size_t>(attend_scratch(4, model.config.head_dim)) * sizeof(float)));
    // Every thread takes every so many tokens: late ones see more than early ones.
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
  dense(model, layer.qkv, model.normed.get(), model.hidden, count, model.heads.get(), model.qkv);
  on_all(model.pool, [&](int thread, int threads) {
    const Span mine = span(count, thread, threads);
    for (int64_t t = mine.begin; t < mine.end; t++) {
      for (int32_t head = 0; head < kv_heads; head++) {
        place_heads(model, cache, index, position + t, head, model.heads.get() + t * model.qkv);
      }
    }
  });
  attend_all(model, cache, index, count, position);
  dense(model, layer.out, model.mixed.get(), model.query, count, model.lowered.get(), model.hidden);
  on_all(model.pool, [&](int thread, int threads) {
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
  dense(model, layer.router, model.normed.get(), model.hidden, count, model.scores.get(), model.experts);
  const Routing routing = route(model, count);
  experts_up(model, layer.up, routing, model.normed.get(), model.hidden, model.raised.get(), model.inner);
  experts_down(model, layer.down, routing, model.raised.get(), model.inner, model.lowered.get(), model.hidden);
  on_all(model.pool, [&](int thread, int threads) {
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

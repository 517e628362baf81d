// Creating a model, and what the runs of a single token and of a chunk have in common.
#include "model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "pool.h"

namespace native {

namespace {

Floats1 rows_of(int64_t rows, int64_t columns) {
  const size_t bytes = static_cast<size_t>(round_up(rows * columns * 4, 4096));
  void* memory = std::aligned_alloc(4096, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return Floats1(static_cast<float*>(memory));
}

// A layer with fewer bytes takes less time than synchronizing the threads.
constexpr int64_t kSmallLayer = 8 << 20;

// The bytes that one token reads of a layer.
int64_t step_bytes(const gt_model& model) {
  const Layer& l = model.layers[0];
  return l.qkv.matrix_bytes + l.out.matrix_bytes +
         model.config.experts_per_token * (l.up.matrix_bytes + l.down.matrix_bytes);
}

}  // namespace

void Free::operator()(void* memory) const { std::free(memory); }

Matrix matrix_of(const gt_matrix& from) {
  const Kind kind = static_cast<Kind>(from.kind);
  const int64_t group = group_bytes(kind, from.columns);
  return {kind, from.experts, from.rows, from.columns, group, from.rows / kGroup * group,
          static_cast<const uint8_t*>(from.data), from.bias};
}

void product(const gt_model& model, const Matrix& w, int32_t expert, Span groups, const Activations& x, float* y) {
  const Kernels& k = *model.kernels;
  const uint8_t* data = w.data + expert * w.matrix_bytes;
  switch (w.kind) {
    case Kind::kMxfp4:
      (model.precision == Precision::kExact ? k.mxfp4 : k.mxfp4_int8)(data, w.columns, groups.begin, groups.end, x, y);
      break;
    case Kind::kBf16: k.bf16(data, w.columns, groups.begin, groups.end, x, y); break;
    case Kind::kInt8: k.int8_int8(data, w.columns, groups.begin, groups.end, x, y); break;
    case Kind::kInt4: k.int4_int8(data, w.columns, groups.begin, groups.end, x, y); break;
  }
}

Activations activations(gt_model& model, int thread, int slot, float* values, int64_t columns) {
  const int64_t blocks = columns / kBlock, stretch = round_up(columns, 64);
  auto* memory = static_cast<int8_t*>(
      pool_scratch(model.pool, thread, slot, static_cast<size_t>(stretch + 2 * round_up(blocks * 4, 64))));
  auto* scale = reinterpret_cast<float*>(memory + stretch);
  return {values, memory, scale, reinterpret_cast<int32_t*>(scale + round_up(blocks, 16))};
}

void load_embedding(const gt_model& model, int32_t token, float* state) {
  const uint16_t* row = model.top.embedding + static_cast<int64_t>(token) * model.config.hidden;
  for (int64_t i = 0; i < model.config.hidden; i++) state[i] = from_bf16(row[i]);
}

namespace {

struct Place {
  uint8_t *keys, *values;  // of one kv head, slot 0
  int64_t slot;            // of the position
};

// Layers alternate: even ones are sliding, odd ones are full.
Place place_of(const gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t kv_head) {
  const gt_config& c = model.config;
  const bool sliding = layer % 2 == 0;
  const int64_t layers = sliding ? (c.layers + 1) / 2 : c.layers / 2;
  const int64_t slots = sliding ? cache.slots : cache.context;
  const int64_t bytes = slots * c.head_dim * (c.wide ? 4 : 2);
  auto* base = static_cast<uint8_t*>(sliding ? cache.sliding : cache.full);
  const int64_t head = static_cast<int64_t>(layer / 2) * c.kv_heads + kv_head;
  return {base + head * bytes, base + (layers * c.kv_heads + head) * bytes,
          sliding ? position - cache.sliding_start : position};
}

void keep(uint8_t* rows, int64_t slot, int64_t dim, bool wide, const float* values) {
  if (wide) {
    std::memcpy(rows + slot * dim * 4, values, static_cast<size_t>(dim) * 4);
    return;
  }
  auto* to = reinterpret_cast<uint16_t*>(rows) + slot * dim;
  for (int64_t i = 0; i < dim; i++) to[i] = to_bf16(values[i]);
}

}  // namespace

void place_heads(gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t kv_head, float* qkv) {
  const gt_config& c = model.config;
  const int64_t dim = c.head_dim, half = dim / 2, group = c.heads / c.kv_heads;
  float cosine[512], sine[512];
  for (int64_t i = 0; i < half; i++) {
    const float angle = static_cast<float>(position) * model.top.frequency[i];
    cosine[i] = std::cos(angle) * model.top.concentration;
    sine[i] = std::sin(angle) * model.top.concentration;
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (int64_t g = 0; g < group; g++) {
    model.kernels->rope(qkv + (kv_head * group + g) * dim, cosine, sine, dim, scale);
  }
  float* key = qkv + (c.heads + kv_head) * dim;
  model.kernels->rope(key, cosine, sine, dim, 1.0f);
  const Place place = place_of(model, cache, layer, position, kv_head);
  keep(place.keys, place.slot, dim, c.wide != 0, key);
  keep(place.values, place.slot, dim, c.wide != 0, qkv + (c.heads + c.kv_heads + kv_head) * dim);
}

void attend(gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t kv_head, const float* qkv,
            float* mixed, float* scratch) {
  const gt_config& c = model.config;
  const int64_t dim = c.head_dim, group = c.heads / c.kv_heads, size = c.wide ? 4 : 2;
  const Place place = place_of(model, cache, layer, position, kv_head);
  int64_t count = position + 1;
  if (layer % 2 == 0 && count > c.window) count = c.window;
  const int64_t first = place.slot + 1 - count;
  const Sight sight{place.keys + first * dim * size, place.values + first * dim * size, count};
  const int64_t head = kv_head * group;
  model.kernels->attend(qkv + head * dim, dim, group, dim, sight, c.wide != 0, model.layers[layer].sinks + head,
                        mixed + head * dim, dim, scratch);
}

ChunkAttention chunk_attention(gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t count) {
  const gt_config& c = model.config;
  const Place place = place_of(model, cache, layer, position, 0);
  const bool sliding = layer % 2 == 0;
  const int64_t stride = (sliding ? cache.slots : cache.context) * c.head_dim, window = sliding ? c.window : 0;
  const float* sinks = model.layers[static_cast<size_t>(layer)].sinks;
  return {place.keys, place.values, stride,     c.wide != 0, place.slot,        window,     count,            c.heads,
          c.kv_heads, c.head_dim,   sinks,      model.heads.get(), model.qkv,   model.mixed.get(), model.query};
}

Chosen choose(const gt_model& model, const float* scores) {
  const gt_config& c = model.config;
  Chosen chosen{};
  bool taken[1024] = {};
  for (int32_t k = 0; k < c.experts_per_token; k++) {
    int32_t best = -1;
    for (int32_t e = 0; e < c.experts; e++) {
      if (!taken[e] && (best < 0 || scores[e] > scores[best])) best = e;
    }
    taken[best] = true;
    chosen.expert[k] = best;
  }
  float total = 0;
  for (int32_t k = 0; k < c.experts_per_token; k++) {
    total += chosen.weight[k] = std::exp(scores[chosen.expert[k]] - scores[chosen.expert[0]]);
  }
  for (int32_t k = 0; k < c.experts_per_token; k++) chosen.weight[k] /= total;
  return chosen;
}

namespace {

// Whether the model has these tokens, and the cache has room for them and what they see.
bool fits(const gt_model& model, const gt_cache& cache, const int32_t* tokens, int32_t count, int64_t position) {
  const gt_config& c = model.config;
  if (count < 1 || count > c.chunk || position < 0 || position + count > cache.context) return false;
  const int64_t slot = position - cache.sliding_start, seen = position < c.window - 1 ? position : c.window - 1;
  if (cache.sliding_start < 0 || slot < seen || slot + count > cache.slots) return false;
  for (int32_t t = 0; t < count; t++) {
    if (tokens[t] < 0 || tokens[t] >= c.vocabulary) return false;
  }
  return true;
}

}  // namespace

}  // namespace native

using native::kBlock;
using native::round_up;

gt_model::~gt_model() {
  if (pool != nullptr) native::pool_free(pool);
}

gt_model* gt_new(const gt_config* config, const gt_top* top, const gt_layer* layers) try {
  const auto isa = static_cast<native::Isa>(config->isa);
  if (!native::isa_available(isa) || config->experts > 1024 || config->head_dim > 1024 ||
      config->experts_per_token > native::kMaxExpertsPerToken) {
    return nullptr;
  }
  auto model = std::make_unique<gt_model>();
  model->config = *config;
  model->top = *top;
  for (int32_t i = 0; i < config->layers; i++) {
    const gt_layer& l = layers[i];
    model->layers.push_back({l.attn_norm, l.sinks, l.mlp_norm, native::matrix_of(l.qkv), native::matrix_of(l.out),
                             native::matrix_of(l.router), native::matrix_of(l.up), native::matrix_of(l.down)});
  }
  model->unembedding = native::matrix_of(top->unembedding);
  model->coarse = native::matrix_of(top->coarse);
  model->precision = config->exact ? native::Precision::kExact : native::Precision::kFast;
  model->kernels = native::kernels_of(isa);
  model->prefill = native::prefill_kernels(isa, model->precision);
  model->small = native::step_bytes(*model) < native::kSmallLayer;
  model->pool = native::pool_new(config->threads, config->pin != 0 && !model->small);
  if (model->pool == nullptr) return nullptr;

  const native::Layer& layer = model->layers[0];
  const int64_t rows = config->chunk, pairs = rows * config->experts_per_token;
  model->hidden = layer.qkv.columns;
  model->query = layer.out.columns;
  model->qkv = layer.qkv.rows;
  model->inner = layer.down.columns;
  model->experts = layer.router.rows;
  model->distinct = model->unembedding.rows;
  model->known = model->distinct;
  while (model->known > 1 && top->counts[model->known - 1] == 0) model->known--;
  if (top->doubt != nullptr) model->most_doubt = *std::max_element(top->doubt, top->doubt + model->distinct);
  model->states = native::rows_of(rows, model->hidden);
  model->normed = native::rows_of(rows, model->hidden);
  model->heads = native::rows_of(rows, model->qkv);
  model->mixed = native::rows_of(rows, model->query);
  model->scores = native::rows_of(rows, model->experts);
  model->raised = native::rows_of(pairs, model->inner);
  model->lowered = native::rows_of(pairs, model->hidden);
  model->logits = native::rows_of(1, model->distinct);
  model->weights = native::rows_of(1, model->distinct);
  // Padding between the heads' width and a whole block stays zero from here on.
  std::memset(model->mixed.get(), 0, static_cast<size_t>(rows * model->query) * sizeof(float));
  model->chosen.resize(static_cast<size_t>(rows));
  model->first.resize(static_cast<size_t>(config->experts) + 1);
  model->token.resize(static_cast<size_t>(pairs));
  model->place.resize(static_cast<size_t>(pairs));
  return model.release();
} catch (...) {
  return nullptr;
}

void gt_free(gt_model* model) { delete model; }

void gt_share_steps(gt_model* model) { model->small = false; }

const char* gt_kernels(const gt_model* model, int32_t prefill) {
  if (!prefill) return model->kernels->name;
  return model->prefill->name;
}

int32_t gt_run(gt_model* model, const gt_cache* cache, const int32_t* tokens, int32_t count, int64_t position,
               int32_t (*cancelled)(void)) try {
  if (!native::fits(*model, *cache, tokens, count, position)) return GT_OUTSIDE;
  if (count == 1) return native::run_token(*model, *cache, tokens[0], position, cancelled);
  return native::run_chunk(*model, *cache, tokens, count, position, cancelled);
} catch (...) {
  return GT_NO_MEMORY;
}

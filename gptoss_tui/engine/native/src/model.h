// A loaded model: where its weights are, and the memory that its steps work in.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "abi.h"
#include "kernels.h"
#include "pace.h"

namespace native {

struct Layer {
  const float *attn_norm, *sinks, *mlp_norm;
  Matrix qkv, out, router, up, down;
};

struct Free {
  void operator()(void* memory) const;
};
// Rows of floats, aligned; pages that nothing touches cost nothing.
using Floats1 = std::unique_ptr<float[], Free>;

struct Chosen {
  int32_t expert[kMaxExpertsPerToken];
  float weight[kMaxExpertsPerToken];
};

}  // namespace native

struct gt_model {
  gt_config config;
  gt_top top;
  std::vector<native::Layer> layers;
  native::Matrix unembedding, coarse;
  float most_doubt;  // of the coarse rows
  native::Precision precision;
  const native::Kernels* kernels;
  const native::PrefillKernels* prefill;
  native::Pool* pool = nullptr;
  bool small;  // as many threads run a step as do it fastest
  native::Pace pace;

  // Rows of a chunk, padded to whole blocks: strides in floats.
  int64_t hidden, query, qkv, inner, experts, distinct;
  int64_t known;  // distinct rows before those of padding
  native::Floats1 states, normed, mixed, heads, scores, raised, lowered, logits, weights;
  std::vector<native::Chosen> chosen;
  std::vector<int32_t> first, token, place;

  ~gt_model();
};

namespace native {

// What the slots of a thread's scratch hold during a step.
enum Slot : int {
  kNormedSlot = kStepSlot,
  kProductsSlot,
  kAttentionSlot,
  kValuesSlot,
  kExpertSlot,  // and on, one for each expert of a token
};
static_assert(kExpertSlot + kMaxExpertsPerToken <= kScratchSlots);

Matrix matrix_of(const gt_matrix& from);

// One token through all layers: state in row 0.
int32_t run_token(gt_model& model, const gt_cache& cache, int32_t token, int64_t position, int32_t (*cancelled)(void));
// Some tokens, layer by layer.
int32_t run_chunk(gt_model& model, const gt_cache& cache, const int32_t* tokens, int32_t count, int64_t position,
                  int32_t (*cancelled)(void));

// y[rows of groups begin .. end - 1] = w x, without bias, with the function for the kind of matrix.
void product(const gt_model& model, const Matrix& w, int32_t expert, Span groups, const Activations& x, float* y);
// Whether products with `w` take int8 activations.
inline bool takes_int8(const gt_model& model, const Matrix& w) {
  return w.kind == Kind::kInt8 || w.kind == Kind::kInt4 || (w.kind == Kind::kMxfp4 && model.precision == Precision::kFast);
}
// Room for the int8 part of `columns` values in a thread's scratch; `values` is given.
Activations activations(gt_model& model, int thread, int slot, float* values, int64_t columns);

// The state of a token as the unembedding takes it, in a thread's scratch; and rows of logits, which all threads draw from
// `next` on. Gives the largest of those that the thread drew.
Activations head_activations(gt_model& model, int thread, const float* state);
float multiply_head(gt_model& model, const Matrix& w, const Activations& x, std::atomic<int64_t>& next);

void load_embedding(const gt_model& model, int32_t token, float* state);
// Turns queries and keys of a token in place, and stores keys and values. qkv: one row.
void place_heads(gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t kv_head, float* qkv);
// Attention of the query heads of `kv_head` for the token at `position`.
void attend(gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t kv_head, const float* qkv,
            float* mixed, float* scratch);
// The same for all heads of `count` tokens from `position` on, as the prefill kernels take it.
ChunkAttention chunk_attention(gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t count);
// The best experts of `scores` and their weights, which sum to 1.
Chosen choose(const gt_model& model, const float* scores);

}  // namespace native

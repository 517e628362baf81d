// A loaded model: pointers to its weights, and the memory that its steps work in.
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
// Aligned rows of floats; pages that are never touched take no memory.
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
  float most_doubt;  // the largest of the coarse rows
  native::Precision precision;
  const native::Kernels* kernels;
  const native::PrefillKernels* prefill;
  native::Pool* pool = nullptr;
  bool small;  // a step is run by one thread or by all, whichever is faster (see pace.h)
  native::Pace pace;

  // Rows of a chunk, padded to whole blocks: strides in floats.
  int64_t hidden, query, qkv, inner, experts, distinct;
  int64_t known;  // number of distinct rows without padding
  native::Floats1 states, normed, mixed, heads, scores, raised, lowered, logits, weights;
  std::vector<native::Chosen> chosen;
  std::vector<int32_t> first, token, place;

  ~gt_model();
};

namespace native {

// The slots of a thread's scratch memory during a step.
enum Slot : int {
  kNormedSlot = kStepSlot,
  kProductsSlot,
  kAttentionSlot,
  kValuesSlot,
  kExpertSlot,  // this and the following, one for each expert of a token
};
static_assert(kExpertSlot + kMaxExpertsPerToken <= kScratchSlots);

Matrix matrix_of(const gt_matrix& from);

// Runs one token through all layers; its state is left in row 0.
int32_t run_token(gt_model& model, const gt_cache& cache, int32_t token, int64_t position, int32_t (*cancelled)(void));
// Runs several tokens, layer by layer.
int32_t run_chunk(gt_model& model, const gt_cache& cache, const int32_t* tokens, int32_t count, int64_t position,
                  int32_t (*cancelled)(void));

// y[rows of groups begin .. end - 1] = w x, without bias, by the kernel for the matrix's kind.
void product(const gt_model& model, const Matrix& w, int32_t expert, Span groups, const Activations& x, float* y);
// Whether products with `w` take int8 activations.
inline bool takes_int8(const gt_model& model, const Matrix& w) {
  return w.kind == Kind::kInt8 || w.kind == Kind::kInt4 || (w.kind == Kind::kMxfp4 && model.precision == Precision::kFast);
}
// Activations whose int8 part, for `columns` values, is in the thread's scratch memory; `values` is the caller's.
Activations activations(gt_model& model, int thread, int slot, float* values, int64_t columns);

// head_activations: the state of a token, prepared for the unembedding in the thread's scratch memory. multiply_head:
// computes logits; the threads take strips of rows from `next`. Returns the largest logit of this thread's strips.
Activations head_activations(gt_model& model, int thread, const float* state);
float multiply_head(gt_model& model, const Matrix& w, const Activations& x, std::atomic<int64_t>& next);

void load_embedding(const gt_model& model, int32_t token, float* state);
// Applies rotary positions to a token's queries and keys in place, and stores keys and values. qkv: one row.
void place_heads(gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t kv_head, float* qkv);
// Attention of the query heads of `kv_head` for the token at `position`.
void attend(gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t kv_head, const float* qkv,
            float* mixed, float* scratch);
// The arguments of the prefill kernels for attention of all heads of `count` tokens from `position` on.
ChunkAttention chunk_attention(gt_model& model, const gt_cache& cache, int32_t layer, int64_t position, int32_t count);
// The best experts of `scores` and their weights, which sum to 1.
Chosen choose(const gt_model& model, const float* scores);

}  // namespace native

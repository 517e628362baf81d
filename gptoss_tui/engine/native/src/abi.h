// The functions that Python calls through ctypes (library.py mirrors every structure). Plain C; no function throws.
// Functions that return int return 0, GT_NO_MEMORY, or GT_OUTSIDE if an argument is outside of what the model or the
// cache has; on an error they have no effect.
#pragma once

#include <stdint.h>

#if defined(_WIN32)
#define GT_EXPORT __declspec(dllexport)
#else
#define GT_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { GT_ABI = 3, GT_NO_MEMORY = -1, GT_OUTSIDE = -2, GT_MOST_FORBIDDEN = 64 };

typedef struct {
  int32_t layers, experts, experts_per_token, vocabulary, hidden, intermediate, head_dim, heads, kv_heads, window;
  int32_t exact;  // 0: experts and int8 matrices take activations in int8
  int32_t wide;   // keys and values are float, else bf16
  float swiglu_limit;
  int32_t chunk;    // the most tokens in one gt_run
  int32_t threads;  // including the caller's
  int32_t pin;      // bind each thread to one processor
  int32_t isa;
} gt_config;

typedef struct {
  int32_t kind, experts;
  int64_t rows, columns;  // padded
  const void* data;
  const float* bias;
} gt_matrix;

typedef struct {
  const float *attn_norm, *sinks, *mlp_norm;
  gt_matrix qkv, out, router, up, down;
} gt_layer;

typedef struct {
  const uint16_t* embedding;  // bf16 [vocabulary][hidden]
  const float* norm;
  const float* frequency;  // [head_dim / 2]: radians per position
  float concentration;     // factor of cosine and sine
  gt_matrix unembedding;   // distinct rows
  gt_matrix coarse;        // the same in kInt4; its data is null if there is none
  const float* doubt;      // the norm of each coarse row's rounding error
  const float* counts;    // how many ids have each row; 0 for rows of padding
  const float* used;      // the same, but counting only ids that may be sampled
} gt_top;

// Memory of keys and values: full layers [2][full layers][kv heads][context][dim], sliding layers [2][sliding layers]
// [kv heads][slots][dim] with the token at position `sliding_start` in slot 0. Elements are bf16 or float.
typedef struct {
  void *full, *sliding;
  int64_t context, slots, sliding_start;
} gt_cache;

typedef struct gt_model gt_model;

GT_EXPORT int32_t gt_abi(void);
// Bit i: the library was built with Isa i (native.h), and this processor supports it.
GT_EXPORT uint32_t gt_instruction_sets(void);
GT_EXPORT gt_model* gt_new(const gt_config* config, const gt_top* top, const gt_layer* layers);
GT_EXPORT void gt_free(gt_model* model);
// Lets all threads share the steps of a model, even if it is so small that a single thread would run them (for tests
// and measurements).
GT_EXPORT void gt_share_steps(gt_model* model);
GT_EXPORT const char* gt_kernels(const gt_model* model, int32_t prefill);

// Runs `count` tokens from `position` on and stores their keys and values; their states are kept for gt_logits. The
// callback, if not null, is called between layers; if it returns nonzero, the run ends and the result is 1.
GT_EXPORT int32_t gt_run(gt_model* model, const gt_cache* cache, const int32_t* tokens, int32_t count, int64_t position,
                         int32_t (*cancelled)(void));
// Logits of the distinct rows for the state of token `index` of the last gt_run. The model owns the memory. Null for an
// index that no chunk has.
GT_EXPORT const float* gt_logits(gt_model* model, int32_t index);

typedef struct {
  float temperature;
  double uniform;  // 0 <= uniform < 1: the only source of randomness
  const int32_t* forbidden;  // distinct rows, at most GT_MOST_FORBIDDEN
  int32_t forbidden_count;
  int32_t row;        // result: the chosen row; -1 if logits are NaN
  double within;      // result: 0 <= within < 1, selects one of the row's ids
  float logit;        // result: the row's logit
  double log_total;   // result: log-sum-exp over all ids
} gt_draw;
GT_EXPORT int32_t gt_sample(gt_model* model, gt_draw* draw);
// gt_logits and gt_sample in one. Reads the coarse unembedding, and of the full one only the rows that matter. The
// logits that it leaves in the model are of no use.
GT_EXPORT int32_t gt_choose(gt_model* model, int32_t index, gt_draw* draw);
// The log-sum-exp over all ids of the logits of the last gt_logits.
GT_EXPORT double gt_log_total(gt_model* model);

// Packing. Rows that alternate between gate and linear (`paired`) are split into pairs of groups. Any number of threads
// may call these at once for different outputs. Sources are row-major; padding is written.
GT_EXPORT void gt_pack_mxfp4(const uint8_t* blocks, const uint8_t* scales, int64_t rows, int64_t columns, int32_t paired,
                             uint8_t* out);
GT_EXPORT void gt_pack_bf16(const uint16_t* source, int64_t rows, int64_t columns, uint8_t* out);
GT_EXPORT void gt_pack_int8(const uint16_t* source, int64_t rows, int64_t columns, uint8_t* out);
// Packs the output of gt_pack_int8 as kInt4, and computes the norm of each row's rounding error.
GT_EXPORT void gt_pack_coarse(const uint8_t* packed, int64_t rows, int64_t columns, uint8_t* out, float* doubt);
GT_EXPORT int64_t gt_packed_bytes(int32_t kind, int64_t rows, int64_t columns);

// For measurements (benchmarks/native.py), in seconds: the time of one matrix times one vector on all threads, `repeat`
// times with the `experts` matrices in turn; and the time to read `bytes` at `data` on all threads.
GT_EXPORT double gt_time_product(gt_model* model, const gt_matrix* matrix, const float* x, float* y, int32_t repeat);
GT_EXPORT double gt_time_read(gt_model* model, const void* data, int64_t bytes);
// For tests: a product as decode computes it, y[rows] = w x of expert `expert`.
GT_EXPORT int32_t gt_product(gt_model* model, const gt_matrix* matrix, int32_t expert, const float* x, float* y);

// Single prefill kernels, for tests and measurements (trial.cpp).
typedef struct {
  int32_t isa;
  int32_t exact;
  int32_t written;  // use AMX kernels with the instructions emulated in plain code; isa is ignored
  int32_t threads, repeat;
} gt_trial;
// Products of `tokens` rows of x. With experts (`first` and `token` as in Routing; `first` has experts + 1 entries), y
// has a row for each pair, and if limit > 0, SwiGLU is applied to it. If `first` is null, w is dense; if `token` is
// null, the rows of x are those of the pairs. Returns the seconds of the fastest of `repeat` runs (CPU time if there is
// one thread), or -1 if the kernels are not available.
GT_EXPORT double gt_try_product(const gt_trial* trial, const gt_matrix* w, const int32_t* first, const int32_t* token,
                                int32_t tokens, const float* x, int64_t x_stride, float* y, int64_t y_stride, float limit);

// Peak operations per second of the instructions used for products with a kind of matrix, on values in registers; -1 as
// above.
GT_EXPORT double gt_try_peak(const gt_trial* trial, int32_t kind);

typedef struct {  // ChunkAttention
  const void *keys, *values;
  int64_t head_stride;
  int32_t wide;
  int64_t past, window;
  int32_t tokens, heads, kv_heads, dim;
  const float *sinks, *query;
  int64_t query_stride;
  float* out;
  int64_t out_stride;
} gt_chunk;
GT_EXPORT double gt_try_attention(const gt_trial* trial, const gt_chunk* chunk);

#ifdef __cplusplus
}
#endif

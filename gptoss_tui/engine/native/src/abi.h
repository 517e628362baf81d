// What Python calls, through ctypes (library.py mirrors every structure). Plain C; no function throws. Functions that
// return int give 0, GT_NO_MEMORY, or GT_OUTSIDE for what the model or the cache does not have: then nothing happened.
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
  int32_t chunk;    // most tokens of one gt_prefill
  int32_t threads;  // of which the caller is one
  int32_t pin;      // each thread stays on one processor
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
  const float* frequency;  // [head_dim / 2]: radians a position
  float concentration;     // factor of cosine and sine
  gt_matrix unembedding;   // distinct rows
  gt_matrix coarse;        // the same in kInt4; without data where there is none
  const float* doubt;      // of coarse: the norm of what each row lacks
  const float* counts;    // of ids that have each row; rows of padding have 0
  const float* used;      // the same, of ids that may be sampled
} gt_top;

// Memory of keys and values: full layers [2][full layers][kv heads][context][dim], sliding ones [2][sliding layers][kv
// heads][slots][dim] with the token of position `sliding_start` in slot 0. Elements are bf16 or float.
typedef struct {
  void *full, *sliding;
  int64_t context, slots, sliding_start;
} gt_cache;

typedef struct gt_model gt_model;

GT_EXPORT int32_t gt_abi(void);
// Bit i: Isa i (native.h) was built in and this processor runs it.
GT_EXPORT uint32_t gt_instruction_sets(void);
GT_EXPORT gt_model* gt_new(const gt_config* config, const gt_top* top, const gt_layer* layers);
GT_EXPORT void gt_free(gt_model* model);
// Lets all threads share the steps of a model that is so small that one would run them alone (tests, measurements).
GT_EXPORT void gt_share_steps(gt_model* model);
GT_EXPORT const char* gt_kernels(const gt_model* model, int32_t prefill);

// Runs `count` tokens from `position` on and keeps their keys and values; their states stay for gt_logits. A callback
// that returns not 0 is asked between layers, and ends it: then the result is 1.
GT_EXPORT int32_t gt_run(gt_model* model, const gt_cache* cache, const int32_t* tokens, int32_t count, int64_t position,
                         int32_t (*cancelled)(void));
// Logits of the distinct rows for the state of token `index` of the last gt_run. They stay in the model: the pointer. Null
// for an index that no chunk has.
GT_EXPORT const float* gt_logits(gt_model* model, int32_t index);

typedef struct {
  float temperature;
  double uniform;  // 0 <= uniform < 1: all that is random
  const int32_t* forbidden;  // distinct rows, at most GT_MOST_FORBIDDEN
  int32_t forbidden_count;
  int32_t row;        // result: the row chosen, -1 when logits are not numbers
  double within;      // result: 0 <= within < 1, where in the row's ids the draw fell
  float logit;        // result: of the row
  double log_total;   // result: log of the sum of exp over all ids
} gt_draw;
GT_EXPORT int32_t gt_sample(gt_model* model, gt_draw* draw);
// As gt_logits and gt_sample in one, from the coarse unembedding and those rows of the whole one that matter. What stays in
// the model is of no use then.
GT_EXPORT int32_t gt_choose(gt_model* model, int32_t index, gt_draw* draw);
// log of the sum of exp of the logits of the last gt_logits over all ids.
GT_EXPORT double gt_log_total(gt_model* model);

// Packing. Rows that alternate between gate and linear (`paired`) are put in pairs of groups. Any number of threads may
// call these at once for different outputs. Sources are row-major; padding is written.
GT_EXPORT void gt_pack_mxfp4(const uint8_t* blocks, const uint8_t* scales, int64_t rows, int64_t columns, int32_t paired,
                             uint8_t* out);
GT_EXPORT void gt_pack_bf16(const uint16_t* source, int64_t rows, int64_t columns, uint8_t* out);
GT_EXPORT void gt_pack_int8(const uint16_t* source, int64_t rows, int64_t columns, uint8_t* out);
// From what gt_pack_int8 made: the same rows in kInt4, and the norm of what each lacks.
GT_EXPORT void gt_pack_coarse(const uint8_t* packed, int64_t rows, int64_t columns, uint8_t* out, float* doubt);
GT_EXPORT int64_t gt_packed_bytes(int32_t kind, int64_t rows, int64_t columns);

// Measuring (benchmarks/native.py): one matrix times one vector on all threads, `repeat` times over `experts` matrices
// in turn; seconds. And reading `bytes` at `data` on all threads; seconds.
GT_EXPORT double gt_time_product(gt_model* model, const gt_matrix* matrix, const float* x, float* y, int32_t repeat);
GT_EXPORT double gt_time_read(gt_model* model, const void* data, int64_t bytes);
// A product as decode does it: y[rows] = w x of expert `expert`, for tests.
GT_EXPORT int32_t gt_product(gt_model* model, const gt_matrix* matrix, int32_t expert, const float* x, float* y);

// Prefill's kernels alone, for tests and measurements (trial.cpp).
typedef struct {
  int32_t isa;
  int32_t exact;
  int32_t written;  // AMX with its instructions written out: isa is not read
  int32_t threads, repeat;
} gt_trial;
// Products of `tokens` rows of x: with experts (first and token as in Routing, first has experts + 1 entries), y has a row
// for each pair, and with limit > 0 it is swiglu's. Where `first` is null w is dense; where `token` is null the rows of x
// are those of the pairs. Gives the seconds of the fastest of `repeat` runs (of one thread: of processor time), or
// -1 where the kernels are not there.
GT_EXPORT double gt_try_product(const gt_trial* trial, const gt_matrix* w, const int32_t* first, const int32_t* token,
                                int32_t tokens, const float* x, int64_t x_stride, float* y, int64_t y_stride, float limit);

// Operations a second of the instructions behind the products with a kind of matrix, on values in registers; -1 as above.
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

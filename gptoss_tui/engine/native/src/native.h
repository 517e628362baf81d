// The library's internals: memory layouts, the table of kernels that each instruction set fills in, the thread pool.
// The functions that Python calls are in abi.h.
//
// LAYOUTS. A matrix W [rows, columns] maps a vector of `columns` to one of `rows`. Rows are stored in groups of 16 (a
// row is a 32-bit lane of a 512-bit register), columns in blocks of 32. Both are padded with zeros: `Matrix::rows` is a
// multiple of 16, `Matrix::columns` of 32. A group is contiguous, starts at a multiple of 64 bytes and is `group_bytes`
// long; the matrices of a layer's experts follow each other, `matrix_bytes` apart. With B = columns / 32:
//
// MXFP4  B * 256 bytes of nibbles, then B * 16 bytes of scales (padded to 64 bytes in all).
//        Nibbles of block b: 4 vectors j of 64 bytes; byte 4 * row + o of vector j holds column 8 j + o in its low
//        nibble and column 8 j + 4 + o in its high one (o in 0..3). Scale b * 16 + row is E8M0: 2 ** (byte - 127).
//        A nibble is E2M1: 0 .5 1 1.5 2 3 4 6, bit 3 is the sign.
//        As int8: the values times 2 are integers (0 1 2 3 4 6 8 12); the factor is moved to the scale.
//        As bf16 pairs: shifting 16-bit lanes right by 4 n (n in 0..3) leaves columns c and c + 2, where c = 8 j +
//        (0, 4, 1, 5)[n], in the lowest nibbles of row r's lanes 2 r and 2 r + 1. Their values are exact in bf16, and
//        AMX and VDPBF16PS take such pairs, if the activations' columns are put in the same order.
// BF16   columns / 2 vectors of 64 bytes: vector c holds columns 2 c and 2 c + 1 of row r as the 16-bit values at 2 r
//        and 2 r + 1. This is a row of the second operand of AMX and VDPBF16PS.
// INT8   B * 512 bytes of values, then B * 32 bytes of scales. Values of block b: 8 vectors j of 64 bytes; byte
//        4 * row + o of vector j holds column 32 b + 4 j + o as value + 128 (unsigned; values are -127..127).
//        Scale b * 16 + row is bf16; weight = (byte - 128) * scale.
//
// INT4   B * 256 bytes of nibbles in the order of MXFP4's, then B * 32 bytes of bf16 scales like INT8's. Weight =
//        (nibble - 7.5) * scale. Used for a coarse copy of the unembedding, which is read instead of it where possible.
//
// `mlp1` (gate and linear rows alternate in the checkpoint) is stored so that group 2 g holds gate rows 16 g .. 16 g +
// 15 and group 2 g + 1 the linear rows of the same outputs; its bias likewise.
// Vectors (biases, norms, sinks) are float.
//
// THREADS. The pool runs one function on all of its threads; kernels split row groups or tokens by `span`. No value
// depends on how the work is split, so results are the same for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace native {

constexpr int kGroup = 16;  // rows of a group
constexpr int kBlock = 32;  // columns of a block
constexpr int kMaxExpertsPerToken = 16;
constexpr float kNormEps = 1e-5f;
constexpr float kSwigluAlpha = 1.702f;

enum class Kind : int32_t { kMxfp4 = 0, kBf16 = 1, kInt8 = 2, kInt4 = 3 };

constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Bytes of a group of 16 rows.
constexpr int64_t group_bytes(Kind kind, int64_t columns) {
  const int64_t blocks = round_up(columns, kBlock) / kBlock;
  switch (kind) {
    case Kind::kMxfp4: return round_up(blocks * (256 + 16), 64);
    case Kind::kBf16: return blocks * 1024;
    case Kind::kInt8: return round_up(blocks * (512 + 32), 64);
    case Kind::kInt4: return round_up(blocks * (256 + 32), 64);
  }
  return 0;
}

struct Matrix {
  Kind kind;
  int32_t experts;         // 1 for a dense matrix
  int64_t rows, columns;   // padded
  int64_t group_bytes;
  int64_t matrix_bytes;    // rows / 16 * group_bytes: from one expert to the next
  const uint8_t* data;
  const float* bias;       // [experts][rows], or null
};

// How exact a product has to be. kExact: like float32 up to rounding (a result's error is below 1e-4 of its scale);
// kFast: activations may be rounded to bf16 or to int8 in groups of 32.
enum class Precision : int32_t { kExact = 0, kFast = 1 };

// ---- thread pool -----------------------------------------------------------------------------------------------------

class Pool;
using Job = void (*)(void* context, int thread, int threads);

int pool_threads(const Pool* pool);
// Runs `job` on every thread (the caller is thread 0) and returns when all have finished. Not to be called in a job.
void pool_run(Pool* pool, Job job, void* context);
// Waits until all threads of the running job have arrived here.
void pool_barrier(Pool* pool);
// Scratch memory of one thread, aligned to 64 bytes. It lives as long as the pool; a request for more bytes moves it.
// Different uses have different slots: 0..3 belong to the prefill kernels, those from kStepSlot on to the steps of
// model.h.
constexpr int kStepSlot = 4;
constexpr int kScratchSlots = 24;
void* pool_scratch(Pool* pool, int thread, int slot, size_t bytes);

struct Span {
  int64_t begin, end;
};
// The part of 0..count - 1 that `thread` handles, in whole multiples of `step`.
inline Span span(int64_t count, int thread, int threads, int64_t step = 1) {
  const int64_t steps = (count + step - 1) / step;
  const int64_t begin = steps * thread / threads * step, end = steps * (thread + 1) / threads * step;
  return {begin < count ? begin : count, end < count ? end : count};
}

// ---- prefill: products of many tokens (src/prefill_*.cpp) ------------------------------------------------------------

// Which tokens go to which expert. A pair is a token and one of its experts; pairs are sorted by expert, then by token.
struct Routing {
  int32_t tokens, experts, per_token;
  const int32_t* first;   // [experts + 1]: pairs first[e] .. first[e + 1] - 1 belong to expert e
  const int32_t* token;   // [tokens * per_token]: the token of each pair
};

// Attention of a chunk of tokens in one layer. Keys and values of a key/value head are rows of `dim` elements, in the
// order of their positions; those of the next head are `head_stride` elements further on. Row `past` belongs to the
// chunk's first token.
struct ChunkAttention {
  const void *keys, *values;
  int64_t head_stride;
  bool wide;       // elements are float, else bf16
  int64_t past;    // rows before those of the chunk
  int64_t window;  // how many rows a token sees, including its own as the last; 0: all
  int32_t tokens, heads, kv_heads, dim;  // dim is a multiple of 32, at most 128; at most 192 heads share their keys
  const float* sinks;  // [heads]
  const float* query;  // rows of [heads][dim], with rotary positions applied, and scaled
  int64_t query_stride;
  float* out;  // rows of [heads][dim]
  int64_t out_stride;
};
inline bool attends(const ChunkAttention& chunk) {
  return chunk.dim % kBlock == 0 && chunk.dim <= 128 && chunk.heads / chunk.kv_heads <= 192;
}

// Activations are float rows, `stride` floats apart and zero up to the padded number of columns; they are 64-byte
// aligned and not modified. Results are float rows too, with an element for every padded row of the matrix.
struct PrefillKernels {
  const char* name;
  // y[t] = w x[t] + bias for t in 0..tokens - 1.  w: kBf16 or kInt8, one expert.
  void (*dense)(Pool* pool, const Matrix& w, const float* x, int64_t x_stride, int32_t tokens, float* y,
                int64_t y_stride);
  // h[p] = swiglu(w[e] x[token[p]] + bias[e]) for every pair p of every expert e: columns of h are w.rows / 2.
  // swiglu of gate g and linear l: g = min(g, limit), l = clamp(l, -limit, limit), g * sigmoid(1.702 g) * (l + 1).
  void (*experts_up)(Pool* pool, const Matrix& w, const Routing& routing, const float* x, int64_t x_stride, float* h,
                     int64_t h_stride, float limit);
  // y[p] = w[e] h[p] + bias[e] for every pair p. The caller weights and sums them.
  void (*experts_down)(Pool* pool, const Matrix& w, const Routing& routing, const float* h, int64_t h_stride, float* y,
                       int64_t y_stride);
  void (*attend)(Pool* pool, const ChunkAttention& chunk);
  // Runs `steps` steps of the instructions that products with a kind of matrix use, on values in registers; returns the
  // number of operations.
  int64_t (*peak)(Kind kind, int64_t steps);
};

// ---- instruction sets ------------------------------------------------------------------------------------------------

enum class Isa : int32_t { kScalar = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Bf16 = 3, kAmx = 4, kNeon = 5, kNeonI8mm = 6 };

// The fastest prefill kernels that `isa` allows for this precision. Defined in prefill.cpp.
const PrefillKernels* prefill_kernels(Isa isa, Precision precision);
// The AMX kernels with the AMX instructions emulated in plain code, for tests; null without AVX-512 BF16.
const PrefillKernels* written_kernels(Precision precision);

}  // namespace native

// The decode kernels: one table for each instruction set, defined in its own translation unit (kernels_*.cpp).
#pragma once

#include "native.h"

namespace native {

// A vector in the form that the products take. `values` has the padded number of columns. The other fields are filled
// for kFast only: int8 values in blocks of 32, where value = quantized * scale[block], and the sum of each block's int8
// values.
struct Activations {
  float* values;
  int8_t* quantized;
  float* scale;
  int32_t* sum;
};

// The keys and values that a query sees: `count` rows of one key/value head, `dim` elements each, in order.
struct Sight {
  const void* keys;
  const void* values;
  int64_t count;
};

// What the choice of a token computes from the coarse logits: how large each row's logit can be, and the sum of
// weights.
struct Screen {
  const float *coarse, *doubt;   // coarse logits, and the norms of the coarse rows' rounding errors
  const float *counts, *used;    // how many ids have each row, and how many of them may be chosen
  float size;                    // norm of the activations
  float deviations;              // a logit's error is taken to be at most this times `doubt` times `size`
  float largest;                 // the largest coarse logit
  float factor;                  // 1 / temperature; 0: choose the likeliest
  uint32_t key[2];               // key of the random numbers
  float* reach;                  // result: the largest possible exact logit; or the coarse weight by the row's number
};

struct Kernels {
  const char* name;
  // Fills the int8 part of `a` from a.values[columns].
  void (*quantize)(const Activations& a, int64_t columns);
  // y[16 g .. 16 g + 15] = w x for the rows of groups begin <= g < end, without bias. One function per kind of matrix.
  void (*mxfp4)(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y);
  void (*mxfp4_int8)(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y);
  void (*bf16)(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y);
  void (*int8_int8)(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y);
  void (*int4_int8)(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y);
  // y = x / rms(x) * scale, count values; y may be x.
  void (*rms_norm)(const float* x, const float* scale, int64_t count, float* y);
  // Computes h[16 i ..] from gates y[32 i ..] and linear values y[32 i + 16 ..], for `groups` pairs of groups.
  void (*swiglu)(const float* y, const float* bias, int64_t groups, float limit, float* h);
  // out += weight * (y + bias); bias may be null.
  void (*add)(const float* y, const float* bias, float weight, int64_t count, float* out);
  // out[g] = softmax attention of query[g] [dim] (already scaled) over `sight` and sinks[g], for `heads` queries that
  // share the keys. Keys and values are bf16, or float if `wide`. `scratch` has attend_scratch floats.
  void (*attend)(const float* query, int64_t query_stride, int64_t heads, int64_t dim, const Sight& sight, bool wide,
                 const float* sinks, float* out, int64_t out_stride, float* scratch);
  // Applies rotary positions to `dim` elements, where x[i] is paired with x[i + dim / 2], then multiplies by `scale`.
  void (*rope)(float* x, const float* cos, const float* sin, int64_t dim, float scale);
  // The first i with the largest x[i] among those with counts[i] > 0, or -1.
  int64_t (*likeliest)(const float* x, const float* counts, int64_t count);
  // `largest`: the maximum of x[0..count - 1]. `mass`: the sum of counts[i] * exp((x[i] - largest) * factor).
  float (*largest)(const float* x, int64_t count);
  double (*mass)(const float* x, const float* counts, float largest, float factor, int64_t count);
  // Fills `reach` for `count` rows (a multiple of 16) from `first` on, and returns the sum of their masses.
  double (*screen)(const Screen& screen, int64_t first, int64_t count);
  // Reads all of `data`, for measurements; the result keeps the compiler from optimizing it away.
  int32_t (*read)(const uint8_t* data, int64_t bytes);
};

constexpr int64_t kKeysAtOnce = 32;
inline int64_t attend_scratch(int64_t heads, int64_t dim) {
  return round_up(kKeysAtOnce * (1 + dim) + heads * (2 + kKeysAtOnce), 16);
}

// Each of these is null if the library was built without its instruction set. They are data because a function that
// returned one would itself be compiled for that set, and crash on a machine without it.
extern const Kernels* const kScalarKernels;
extern const Kernels* const kAvx2Kernels;
extern const Kernels* const kAvx512Kernels;
extern const Kernels* const kNeonKernels;

// The decode kernels of an instruction set; null if this library was built without them.
const Kernels* kernels_of(Isa isa);
// Whether this processor supports the instruction set.
bool isa_runs(Isa isa);
// Whether this library has decode kernels for it (prefill kernels are optional) and this processor can run them. For
// AMX, this also requests the tile registers from the operating system.
bool isa_available(Isa isa);

inline float from_bf16(uint16_t bits) {
  union {
    uint32_t u;
    float f;
  } value{static_cast<uint32_t>(bits) << 16};
  return value.f;
}
inline uint16_t to_bf16(float value) {
  union {
    float f;
    uint32_t u;
  } bits{value};
  if ((bits.u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits.u >> 16) | 64);
  return static_cast<uint16_t>((bits.u + 0x7fffu + ((bits.u >> 16) & 1)) >> 16);
}

}  // namespace native

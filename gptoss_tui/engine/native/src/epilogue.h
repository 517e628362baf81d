// Code shared by kernels: prefetching, and the processing of results on their way to memory. Included by the units of
// instruction sets, so that each has its own copy: the loops are plain, and the compiler vectorizes them.
#pragma once

#include <cstring>

#include "gemm.h"

namespace native {
namespace {

// exp(x) for -87 <= x <= 87, within 2 units in the last place: 2 ** n times a polynomial in the remainder of x.
inline float exp_within(float x) {
  const float shifted = x * 1.44269504f + 12582912.0f;  // adding 1.5 * 2 ** 23 leaves the integer in the low bits
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  float p = 1.98756915e-4f;
  p = p * r + 1.39819995e-3f;
  p = p * r + 8.33345190e-3f;
  p = p * r + 4.16657956e-2f;
  p = p * r + 1.66666657e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  int32_t whole;
  std::memcpy(&whole, &shifted, 4);
  const int32_t bits = static_cast<int32_t>(static_cast<uint32_t>(whole) << 23) + (127 << 23);
  float scale;
  std::memcpy(&scale, &bits, 4);
  return p * scale;
}

// NaN stays NaN.
inline float at_most(float x, float most) { return most < x ? most : x; }
inline float at_least(float x, float least) { return least > x ? least : x; }

// How many cache lines each of `steps` steps has to prefetch.
inline int lines_of(const Ahead& ahead, int64_t steps) {
  const int64_t lines = (ahead.end - ahead.at + 63) / 64, each = (lines + steps - 1) / steps;
  return static_cast<int>(each < 8 ? each : 8);
}
inline void fetch(Ahead& ahead, int lines) {
  for (int i = 0; i < lines && ahead.at < ahead.end; i++, ahead.at += 64) __builtin_prefetch(ahead.at, 0, 2);
}

// `c` holds kStrip results for each of `count` tokens, which are written to the output's rows from `first` on.
inline void finish(const float* c, int32_t first, int32_t count, const Output& output) {
  for (int32_t t = 0; t < count; t++, c += kStrip) {
    float* y = output.y + (first + t) * output.stride;
    if (output.swiglu) {
      float h[kGroup];
      for (int i = 0; i < kGroup; i++) {
        const float gate = at_most(c[i] + output.bias[i], output.limit);
        const float linear = at_least(at_most(c[kGroup + i] + output.bias[kGroup + i], output.limit), -output.limit);
        const float e = exp_within(at_least(at_most(-kSwigluAlpha * gate, 87.0f), -87.0f));
        h[i] = gate / (1.0f + e) * (linear + 1.0f);
      }
      std::memcpy(y, h, sizeof h);
    } else {
      float sum[kStrip];
      for (int i = 0; i < kStrip; i++) sum[i] = c[i] + output.bias[i];
      std::memcpy(y, sum, static_cast<size_t>(output.columns) * sizeof(float));
    }
  }
}

// Multiplies `count` packed tokens in tiles of up to `Most`; `tile(first, rows, c)` computes those of `rows` tokens
// from `first` on.
template <int Most, class Tile>
inline void multiply_rows(int32_t count, const Output& output, Tile tile) {
  const int32_t tiles = tile_count(count, Most);
  for (int32_t t = 0; t < tiles; t++) {
    const int32_t first = tile_begin(count, Most, t), rows = tile_begin(count, Most, t + 1) - first;
    alignas(64) float c[Most * kStrip];
    tile(first, rows, c);
    finish(c, first, rows, output);
  }
}

}  // namespace
}  // namespace native

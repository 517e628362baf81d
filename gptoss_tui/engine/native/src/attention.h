// Attention of a chunk of tokens, tile by tile: the queries of some tokens that share a key/value head go over the keys
// in blocks, with a running maximum and mass (arXiv 2205.14135); the mass starts with 1 for the sink. Included by the
// units of instruction sets, which provide the arithmetic.
#pragma once

#include <array>
#include <cstring>
#include <utility>

#include "epilogue.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace native {
namespace {

constexpr int kKeys = 64;  // of a block: four groups
constexpr float kNotSeen = -3e38f, kLeastScore = -1e38f;

// The members of an `Arithmetic`:
//   Number               the type that queries, keys, values and shares are rounded to
//   kRows                the most rows in a product
//   round(x, count, to)  converts `count` floats, a multiple of 32, to Numbers
//   key_panel(rows, wide, count, dim, to), value_panel(...)
//                        pack the block's rows [count][dim], bf16 or float, into the panels of TileMemory; missing rows
//                        are zeros
//   multiply(rows, a, a_stride, panel, depth, c, c_stride, shrink)
//                        c[r][0..31] = shrink[r] * c[r] (0 where shrink is null) + sum over k < depth of a[r][k] times
//                        two groups of the panel
template <class Arithmetic>
struct alignas(64) TileMemory {
  typename Arithmetic::Number query[kMostTileRows][kMostHeadDim];
  typename Arithmetic::Number share[Arithmetic::kRows][kKeys];
  typename Arithmetic::Number keys[kMostHeadDim * kKeys];    // for each 16 keys, [dim][16] in the arithmetic's order
  typename Arithmetic::Number values[kMostHeadDim * kKeys];  // for each 16 dimensions, [kKeys][16]
  float score[Arithmetic::kRows][kKeys];
  float mixed[kMostTileRows][kMostHeadDim];
  float largest[kMostTileRows + kGroup], mass[kMostTileRows];
};

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t greatest(int64_t a, int64_t b) { return a > b ? a : b; }

// 16 numbers; the compiler maps them to the registers of the instruction set.
typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t WholeLanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef float HalfLanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef float QuarterLanes __attribute__((vector_size(16), aligned(4), may_alias));

// If an element is NaN, the result is the second one.
inline Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }

inline float largest_of(Lanes x) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)x);
#else
  HalfLanes half[2];
  std::memcpy(half, &x, sizeof half);
  const HalfLanes eight = half[0] > half[1] ? half[0] : half[1];
  QuarterLanes quarter[2];
  std::memcpy(quarter, &eight, sizeof quarter);
  const QuarterLanes four = quarter[0] > quarter[1] ? quarter[0] : quarter[1];
  return at_least(at_least(four[0], four[1]), at_least(four[2], four[3]));
#endif
}

inline float sum_of(Lanes x) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)x);
#else
  HalfLanes half[2];
  std::memcpy(half, &x, sizeof half);
  const HalfLanes eight = half[0] + half[1];
  QuarterLanes quarter[2];
  std::memcpy(quarter, &eight, sizeof quarter);
  const QuarterLanes four = quarter[0] + quarter[1];
  return (four[0] + four[1]) + (four[2] + four[3]);
#endif
}

// exp(x) for x <= 0, with a relative error below 5e-7; results below 1e-38 may be anything up to that.
#if defined(__AVX512F__)
inline Lanes exp_below_zero(Lanes x) {
  const __m512 log2 = _mm512_mul_ps(_mm512_max_ps(_mm512_set1_ps(-200.0f), (__m512)x), _mm512_set1_ps(1.44269504f));
  const __m512 n = _mm512_roundscale_ps(log2, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Lanes r = (Lanes)_mm512_sub_ps(log2, n);
  Lanes p = r * 1.327647129e-3f + 9.675540961e-3f;
  p = p * r + 5.550713092e-2f;
  p = p * r + 2.402212024e-1f;
  p = p * r + 6.931469440e-1f;
  p = p * r + 1.0f;
  return (Lanes)_mm512_scalef_ps((__m512)p, n);
}
#else
inline Lanes exp_below_zero(Lanes x) {  // as exp_within
  x = larger(Lanes{} - 87.0f, x);
  const Lanes shifted = x * 1.44269504f + 12582912.0f;
  const Lanes n = shifted - 12582912.0f;
  const Lanes r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  Lanes p = r * 1.98756915e-4f + 1.39819995e-3f;
  p = p * r + 8.33345190e-3f;
  p = p * r + 4.16657956e-2f;
  p = p * r + 1.66666657e-1f;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  return p * (Lanes)(((WholeLanes)shifted << 23) + (127 << 23));
}
#endif

// Turns rows of scores into shares of the mass, relative to each row's largest score so far, and sets `shrink` to the
// factor for what has been mixed before. A score of kNotSeen gets no share. There are at most kGroup rows; `largest`
// and `shrink` always have kGroup floats.
inline void take_in(float (*score)[kKeys], int32_t rows, float* largest, float* mass, float* shrink) {
  alignas(64) float most[kGroup] = {};
  for (int32_t r = 0; r < rows; r++) {
    const auto* x = reinterpret_cast<const Lanes*>(score[r]);
    most[r] = at_least(largest_of(larger(larger(x[0], x[1]), larger(x[2], x[3]))), largest[r]);
  }
  const Lanes before = *reinterpret_cast<const Lanes*>(largest);
  *reinterpret_cast<Lanes*>(shrink) = exp_below_zero(before - *reinterpret_cast<const Lanes*>(most));
  for (int32_t r = 0; r < rows; r++) {
    auto* x = reinterpret_cast<Lanes*>(score[r]);
    Lanes total{};
    for (int i = 0; i < kKeys / kGroup; i++) {
      x[i] = x[i] < kLeastScore ? Lanes{} : exp_below_zero(x[i] - most[r]);
      total += x[i];
    }
    mass[r] = mass[r] * shrink[r] + sum_of(total);
    largest[r] = most[r];
  }
}

// A token of the chunk sees the keys seen_from(chunk, token) .. chunk.past + token.
inline int64_t seen_from(const ChunkAttention& c, int32_t token) {
  return c.window == 0 ? 0 : greatest(0, c.past + token - c.window + 1);
}

// Computes tokens first .. first + tokens - 1 of the chunk at key/value head `head`.
template <class Arithmetic>
void attend_tile(const ChunkAttention& c, int32_t head, int32_t first, int32_t tokens, void* memory) {
  auto& m = *static_cast<TileMemory<Arithmetic>*>(memory);
  const int32_t shared = c.heads / c.kv_heads, rows = tokens * shared, dim = c.dim;
  const size_t number = c.wide ? 4 : 2;
  const auto* keys = static_cast<const uint8_t*>(c.keys) + head * c.head_stride * number;
  const auto* values = static_cast<const uint8_t*>(c.values) + head * c.head_stride * number;
  for (int32_t r = 0; r < rows; r++) {
    const int32_t t = first + r / shared, h = head * shared + r % shared;
    Arithmetic::round(c.query + t * c.query_stride + h * dim, dim, m.query[r]);
    std::memset(m.mixed[r], 0, static_cast<size_t>(dim) * sizeof(float));
    m.largest[r] = c.sinks[h];
    m.mass[r] = 1.0f;
  }
  std::memset(m.largest + rows, 0, kGroup * sizeof(float));
  const int64_t end = c.past + first + tokens;
  for (int64_t block = seen_from(c, first); block < end; block += kKeys) {
    const int32_t count = static_cast<int32_t>(least(kKeys, end - block));
    const size_t at = static_cast<size_t>(block * dim) * number;
    Arithmetic::key_panel(keys + at, c.wide, count, dim, m.keys);
    Arithmetic::value_panel(values + at, c.wide, count, dim, m.values);
    const int32_t tiles = tile_count(rows, Arithmetic::kRows);
    for (int32_t tile = 0; tile < tiles; tile++) {
      const int32_t top = tile_begin(rows, Arithmetic::kRows, tile);
      const int32_t height = tile_begin(rows, Arithmetic::kRows, tile + 1) - top;
      const int32_t earliest = first + top / shared, latest = first + (top + height - 1) / shared;
      if (block > c.past + latest || block + count <= seen_from(c, earliest)) continue;
      for (int g = 0; g < kKeys; g += kStrip) {
        Arithmetic::multiply(height, m.query[top], kMostHeadDim, m.keys + g * dim, dim, &m.score[0][g], kKeys, nullptr);
      }
      for (int32_t r = 0; r < height; r++) {
        const int32_t token = first + (top + r) / shared;
        const int64_t from = seen_from(c, token) - block, to = c.past + token + 1 - block;
        for (int64_t k = 0; k < least(from, kKeys); k++) m.score[r][k] = kNotSeen;
        for (int64_t k = greatest(to, 0); k < kKeys; k++) m.score[r][k] = kNotSeen;
      }
      static_assert(Arithmetic::kRows <= kGroup);
      alignas(64) float shrink[kGroup];
      take_in(m.score, height, m.largest + top, m.mass + top, shrink);
      for (int32_t r = 0; r < height; r++) Arithmetic::round(m.score[r], kKeys, m.share[r]);
      for (int32_t d = 0; d < dim; d += kStrip) {
        Arithmetic::multiply(height, m.share[0], kKeys, m.values + d * kKeys, kKeys, &m.mixed[top][d], kMostHeadDim,
                             shrink);
      }
    }
  }
  for (int32_t r = 0; r < rows; r++) {
    const int32_t t = first + r / shared, h = head * shared + r % shared;
    float* out = c.out + t * c.out_stride + h * dim;
    const float share = 1.0f / m.mass[r];
    for (int32_t d = 0; d < dim; d++) out[d] = m.mixed[r][d] * share;
  }
}

}  // namespace
}  // namespace native

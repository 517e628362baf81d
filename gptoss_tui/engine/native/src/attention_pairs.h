// Keys and values of a block as panels of bf16 pairs, for VDPBF16PS and AMX: a vector has one pair of each of 16 keys, or
// of 16 dimensions. Rows in memory are [count][dim]; rows up to `keys` that are missing are zeros.
#pragma once

#include "pairs.h"

namespace native {
namespace {

// Transposes 16 vectors of 16 numbers.
inline void transpose(__m512i* x) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int h = 0; h < 2; h++) {
      b[i + 2 * h] = _mm512_unpacklo_epi64(a[i + h], a[i + 2 + h]);
      b[i + 2 * h + 1] = _mm512_unpackhi_epi64(a[i + h], a[i + 2 + h]);
    }
  }
  // Part l of b[4 i + c] is column 4 l + c of rows 4 i .. 4 i + 3.
  for (int c = 0; c < 4; c++) {
    const __m512i even = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x88), odd = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xdd);
    const __m512i more_even = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x88);
    const __m512i more_odd = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xdd);
    x[c] = _mm512_shuffle_i32x4(even, more_even, 0x88);
    x[4 + c] = _mm512_shuffle_i32x4(odd, more_odd, 0x88);
    x[8 + c] = _mm512_shuffle_i32x4(even, more_even, 0xdd);
    x[12 + c] = _mm512_shuffle_i32x4(odd, more_odd, 0xdd);
  }
}

// A pair has two dimensions of a key: 16 keys become [dim / 2][16][2].
inline void key_pairs(const uint16_t* from, int32_t count, int32_t dim, int32_t keys, uint16_t* to) {
  for (int32_t g = 0; g < keys; g += kGroup) {
    for (int32_t d = 0; d < dim; d += 2 * kGroup) {
      __m512i pairs[kGroup];
      for (int32_t k = 0; k < kGroup; k++) {
        pairs[k] = g + k < count ? _mm512_loadu_si512(from + (g + k) * dim + d) : _mm512_setzero_si512();
      }
      transpose(pairs);
      for (int32_t p = 0; p < kGroup; p++) _mm512_storeu_si512(to + g * dim + (d / 2 + p) * 32, pairs[p]);
    }
  }
}

// A pair has a dimension of two keys: 16 dimensions become [keys / 2][16][2].
inline void value_pairs(const uint16_t* from, int32_t count, int32_t dim, int32_t keys, uint16_t* to) {
  // The fours of a row in the order in which unpacking gives them back in theirs.
  const __m512i fours = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  const auto row = [&](int32_t k, int32_t d) {
    if (k >= count) return _mm512_setzero_si512();
    return _mm512_permutexvar_epi64(fours, _mm512_loadu_si512(from + k * dim + d));
  };
  for (int32_t k = 0; k < keys; k += 2) {
    for (int32_t d = 0; d < dim; d += 2 * kGroup) {
      const __m512i first = row(k, d), second = row(k + 1, d);
      _mm512_storeu_si512(to + d * keys + k * kGroup, _mm512_unpacklo_epi16(first, second));
      _mm512_storeu_si512(to + (d + kGroup) * keys + k * kGroup, _mm512_unpackhi_epi16(first, second));
    }
  }
}

}  // namespace
}  // namespace native

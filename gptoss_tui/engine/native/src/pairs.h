// Weights as pairs of bf16, for AVX-512 BF16 and AMX: a group is [columns / 2][16 rows][2], as native.h stores kBf16.
// MXFP4 is exact in bf16; its columns are in another order, in which activations are put too (`pair_columns`). Int8
// weights are rounded.
#pragma once

#include <immintrin.h>

#include "epilogue.h"

namespace native {
namespace {

// A block's columns in the order of MXFP4's pairs: pair 4 j + n has columns c and c + 2, where
// c = 8 j + (0, 4, 1, 5)[n].
inline __m512i pair_columns() {
  return _mm512_setr_epi32(0x00020000, 0x00060004, 0x00030001, 0x00070005, 0x000a0008, 0x000e000c, 0x000b0009, 0x000f000d,
                           0x00120010, 0x00160014, 0x00130011, 0x00170015, 0x001a0018, 0x001e001c, 0x001b0019, 0x001f001d);
}

// 32 floats as bf16, rounded to the nearest, in their order.
inline __m512i round_block(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

// What rounding left over, as bf16 too: `first` is round_block(low, high).
inline __m512i round_rest(__m512 low, __m512 high, __m512i first) {
  const __m512i first_low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(first));
  const __m512i first_high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(first, 1));
  return round_block(_mm512_sub_ps(low, _mm512_castsi512_ps(_mm512_slli_epi32(first_low, 16))),
                     _mm512_sub_ps(high, _mm512_castsi512_ps(_mm512_slli_epi32(first_high, 16))));
}

// The block of a row's activations at `x` as 16 pairs, in the order of a matrix of `kind`.
inline __m512i pack_block(Kind kind, const float* x) {
  const __m512i natural = round_block(_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16));
  return kind == Kind::kMxfp4 ? _mm512_permutexvar_epi16(pair_columns(), natural) : natural;
}

// The same for the rounding errors of pack_block, rounded too: both parts together have 16 bits.
inline __m512i pack_rest(Kind kind, const float* x) {
  const __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
  const __m512i rest = round_rest(low, high, round_block(low, high));
  return kind == Kind::kMxfp4 ? _mm512_permutexvar_epi16(pair_columns(), rest) : rest;
}

// Unpacks a block's four vectors of nibbles into 16 pairs. The table has each E2M1 number twice, since its index has
// five bits; `by` multiplies a number of the table by its row's scale.
template <class Scale>
inline void pairs_of_block(const uint8_t* nibbles, __m512i table, Scale by, uint8_t* out) {
  for (int j = 0; j < 4; j++) {
    const __m512i bits = _mm512_loadu_si512(nibbles + j * 64);
#pragma GCC unroll 4
    for (int n = 0; n < 4; n++) {
      const __m512i value = _mm512_permutexvar_epi16(_mm512_srli_epi16(bits, static_cast<unsigned>(4 * n)), table);
      _mm512_storeu_si512(out + (4 * j + n) * 64, by(value));
    }
  }
}

// Unpacks block b of a group of `blocks` blocks into the 16 pairs at `out`, [16][16 rows][2].
inline void unpack_mxfp4(const uint8_t* group, int64_t blocks, int64_t b, uint8_t* out) {
  // There is no -0, so that 0 is the only number without an exponent.
  const __m256i half = _mm256_setr_epi16(0, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0, 0, -0x4100, -0x4080,
                                         -0x4040, -0x4000, -0x3fc0, -0x3f80, -0x3f40);
  const __m512i table = _mm512_inserti64x4(_mm512_castsi256_si512(half), half, 1);
  const uint8_t* exponents = group + blocks * 256 + b * kGroup;
  // A scale shifts exponents. Below 2 ** -124 and above 2 ** 125, a bf16 could not hold the products.
  __m512i by = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(exponents)));
  by = _mm512_min_epi32(_mm512_max_epi32(by, _mm512_set1_epi32(3)), _mm512_set1_epi32(252));
  by = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_set1_epi32(127), by), 7);
  const bool shrinks = _mm512_cmplt_epi32_mask(by, _mm512_setzero_si512()) == 0;
  by = _mm512_or_si512(_mm512_slli_epi32(by, 16), _mm512_and_si512(by, _mm512_set1_epi32(0xffff)));
  if (shrinks) {  // almost always: then 0 stays 0 by itself, since the subtraction saturates at 0
    pairs_of_block(group + b * 256, table, [by](__m512i v) { return _mm512_subs_epu16(v, by); }, out);
  } else {
    pairs_of_block(group + b * 256, table,
                   [by](__m512i v) { return _mm512_mask_sub_epi16(v, _mm512_test_epi16_mask(v, v), v, by); }, out);
  }
}

// The same for int8, whose products with their scales are rounded.
inline void unpack_int8(const uint8_t* group, int64_t blocks, int64_t b, uint8_t* out) {
  // A byte u = 128 + value is put into both halves of a pair as 128 + u % 128 and -128 or -256, whose sum is the value:
  // both are bf16, and the product of pairs multiplies the sum by the scale.
  const __m512i bits = _mm512_set1_epi32(0x0080007f), ones = _mm512_set1_epi32(static_cast<int>(0xc3804300));
  const __m512i columns = _mm512_setr_epi32(0x00100000, 0x00110001, 0x00120002, 0x00130003, 0x00140004, 0x00150005, 0x00160006,
                                            0x00170007, 0x00180008, 0x00190009, 0x001a000a, 0x001b000b, 0x001c000c, 0x001d000d,
                                            0x001e000e, 0x001f000f);
  const auto* halves = reinterpret_cast<const __m256i*>(group + blocks * 512 + b * kGroup * 2);
  const __m512i half = _mm512_cvtepu16_epi32(_mm256_loadu_si256(halves));
  const auto scale = (__m512bh)_mm512_or_si512(half, _mm512_slli_epi32(half, 16));
  for (int j = 0; j < 8; j++) {
    const __m512i bytes = _mm512_loadu_si512(group + b * 512 + j * 64);
    __m512 value[4];
#pragma GCC unroll 4
    for (int o = 0; o < 4; o++) {
      const auto twice = _mm512_set1_epi32(static_cast<int>(0x80008000u) | o << 16 | o);
      const auto lanes = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
      const __m512i byte = _mm512_shuffle_epi8(bytes, _mm512_add_epi8(twice, lanes));
      const auto pair = (__m512bh)_mm512_ternarylogic_epi32(byte, bits, ones, 0x6a);  // (byte & bits) ^ ones
      value[o] = _mm512_dpbf16_ps(_mm512_setzero_ps(), pair, scale);
    }
    for (int p = 0; p < 2; p++) {
      const auto both = (__m512i)_mm512_cvtne2ps_pbh(value[2 * p + 1], value[2 * p]);
      _mm512_storeu_si512(out + (2 * j + p) * 64, _mm512_permutexvar_epi16(columns, both));
    }
  }
}

inline size_t pairs_panel_bytes(Kind kind, int64_t columns) {
  return kind == Kind::kBf16 ? 0 : static_cast<size_t>(columns) * kStrip * 2;
}

// Unpacks both groups of a strip of MXFP4 into pairs; bf16 is used as it is.
inline Strip unpack_pairs(Kind kind, const uint8_t* const* groups, int64_t columns, void* panel) {
  if (kind == Kind::kBf16) return {{groups[0], groups[1]}, {nullptr, nullptr}};
  uint8_t* half[2] = {static_cast<uint8_t*>(panel), static_cast<uint8_t*>(panel) + columns * kGroup * 2};
  const int64_t blocks = columns / kBlock;
  for (int g = 0; g < 2; g++) {
    for (int64_t b = 0; b < blocks; b++) unpack_mxfp4(groups[g], blocks, b, half[g] + b * 1024);
  }
  return {{half[0], half[1]}, {nullptr, nullptr}};
}

}  // namespace
}  // namespace native

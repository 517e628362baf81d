// Code shared by the integer products with AVX2.
#pragma once

#include <immintrin.h>

#include "native.h"

namespace native {
namespace {

constexpr int kLanes = 8;  // rows of weights in a register
constexpr int kParts = kGroup / kLanes;
constexpr int32_t kInfinity = 0x7f800000;

inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
inline void store(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }

// Keeps additions in their order. Compilers may reorder additions of integers, and then run out of registers.
inline void keep_order(__m256i& a, __m256i& b) { asm("" : "+x"(a), "+x"(b)); }

// The bits of the largest magnitude of 32 floats: the bits are ordered as the magnitudes are, with infinity and NaN
// last.
inline int32_t most_bits(const float* x) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i most = _mm256_setzero_si256();
  for (int i = 0; i < kBlock; i += kLanes) most = _mm256_max_epi32(most, _mm256_and_si256(load(x + i), magnitude));
  __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
  return _mm_cvtsi128_si32(half);
}

// `Gemm::peak` for an `add(sum, w)` that adds `products` products to each of a register's lanes of 32 bits.
template <class Add>
int64_t run_peak(int64_t steps, int products, Add add) {
  constexpr int kChains = 6;
  __m256i sum[kChains], w = _mm256_setzero_si256();
  for (auto& chain : sum) chain = w;
  for (int64_t i = 0; i < steps; i++) {
    asm volatile("" : "+x"(w));
#pragma GCC unroll 6
    for (auto& chain : sum) chain = add(chain, w);
  }
  for (const auto& chain : sum) w = add(w, chain);
  return steps * kChains * kLanes * products * 2 + _mm256_cvtsi256_si32(w);
}

}  // namespace
}  // namespace native

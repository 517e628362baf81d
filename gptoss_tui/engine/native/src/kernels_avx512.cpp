// Decode kernels for AVX-512 with VNNI. A register has 16 rows; several groups are handled at once, to have several
// streams from memory and several chains of sums.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#define NATIVE_WIDTH 16
#include "generic.h"

#include <immintrin.h>

namespace native {
namespace {

// How far ahead bytes are prefetched: a little way within long groups of rows, or if `GROUPS` groups are short, the
// same place in the next ones.
template <int GROUPS>
NATIVE_INLINE int64_t distance(int64_t bytes) {
  constexpr int64_t kLittle = 2048, kShort = 256 << 10;
  return GROUPS * bytes < kShort ? GROUPS * bytes : kLittle;
}

NATIVE_INLINE void prefetch(const uint8_t* from) { _mm_prefetch(reinterpret_cast<const char*>(from), _MM_HINT_T0); }

NATIVE_INLINE __m512 e8m0(const uint8_t* scales) {
  const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(scales));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes), 23));
}

// The eight fours of a block's int8 values, each in every lane.
struct Fours {
  __m512i four[8];
};
NATIVE_INLINE Fours fours_of(const int8_t* values) {
  Fours fours;
  for (int i = 0; i < 8; i++) {
    int32_t word;
    std::memcpy(&word, values + 4 * i, sizeof word);
    fours.four[i] = _mm512_set1_epi32(word);
  }
  return fours;
}

template <int GROUPS>
NATIVE_INLINE void mxfp4_groups(const uint8_t* w, int64_t bytes, int64_t blocks, const Activations& x, float* y) {
  const __m512 lut = _mm512_setr_ps(0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.f, -.5f, -1, -1.5f, -2, -3, -4, -6);
  const int64_t ahead = distance<GROUPS>(bytes);
  __m512 total[GROUPS];
  for (int g = 0; g < GROUPS; g++) total[g] = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; b++) {
    __m512 part[GROUPS];
    for (int g = 0; g < GROUPS; g++) part[g] = _mm512_setzero_ps();
    for (int j = 0; j < 4; j++) {
      const float* values = x.values + b * kBlock + 8 * j;
      __m512i q[GROUPS];
      for (int g = 0; g < GROUPS; g++) {
        const uint8_t* from = w + g * bytes + b * 256 + j * 64;
        prefetch(from + ahead);
        q[g] = _mm512_load_si512(from);
      }
      // Nibble n of a row's 32 bits is column n / 2 + 4 (n % 2); the look-up takes the lowest four bits of a lane.
      for (int n = 0; n < 8; n++) {
        const __m512 value = _mm512_set1_ps(values[n / 2 + 4 * (n % 2)]);
        for (int g = 0; g < GROUPS; g++) {
          part[g] = _mm512_fmadd_ps(_mm512_permutexvar_ps(q[g], lut), value, part[g]);
          q[g] = _mm512_srli_epi32(q[g], 4);
        }
      }
    }
    for (int g = 0; g < GROUPS; g++) {
      const __m512 scale = e8m0(w + g * bytes + blocks * 256 + b * kGroup);
      total[g] = _mm512_fmadd_ps(part[g], scale, total[g]);
    }
  }
  for (int g = 0; g < GROUPS; g++) _mm512_storeu_ps(y + g * kGroup, total[g]);
}

NATIVE_INLINE __m512 bf16_scales(const uint8_t* scales) {
  const __m256i bits = _mm256_load_si256(reinterpret_cast<const __m256i*>(scales));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

// For MXFP4 and INT4.
template <int GROUPS, Kind KIND>
NATIVE_INLINE void nibbles_int8_groups(const uint8_t* w, int64_t bytes, int64_t blocks, const Activations& x, float* y) {
  // Twice the value plus 12 or 15, since VNNI needs an unsigned first operand.
  constexpr bool kLinear = KIND == Kind::kInt4;
  const __m512i lut = _mm512_broadcast_i32x4(
      kLinear ? _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
              : _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  const __m512i low = _mm512_set1_epi8(15);
  const int64_t ahead = distance<GROUPS>(bytes);
  __m512 total[GROUPS];
  for (int g = 0; g < GROUPS; g++) total[g] = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; b++) {
    const auto [four] = fours_of(x.quantized + b * kBlock);
    const __m512i base = _mm512_set1_epi32((kLinear ? -15 : -12) * x.sum[b]);
    const __m512 size = _mm512_set1_ps(x.scale[b] * 0.5f);
    for (int g = 0; g < GROUPS; g++) {
      const uint8_t* from = w + g * bytes + b * 256;
      __m512i even = base, odd = _mm512_setzero_si512();
      for (int j = 0; j < 4; j++) {
        prefetch(from + j * 64 + ahead);
        const __m512i q = _mm512_load_si512(from + j * 64);
        even = _mm512_dpbusd_epi32(even, _mm512_shuffle_epi8(lut, _mm512_and_si512(q, low)), four[2 * j]);
        odd = _mm512_dpbusd_epi32(
            odd, _mm512_shuffle_epi8(lut, _mm512_and_si512(_mm512_srli_epi16(q, 4), low)), four[2 * j + 1]);
      }
      const uint8_t* scales = w + g * bytes + blocks * 256 + b * (kLinear ? 2 : 1) * kGroup;
      const __m512 scale = _mm512_mul_ps(kLinear ? bf16_scales(scales) : e8m0(scales), size);
      total[g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(even, odd)), scale, total[g]);
    }
  }
  for (int g = 0; g < GROUPS; g++) _mm512_storeu_ps(y + g * kGroup, total[g]);
}

template <int GROUPS>
NATIVE_INLINE void bf16_groups(const uint8_t* w, int64_t bytes, int64_t blocks, const Activations& x, float* y) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const int64_t ahead = distance<GROUPS>(bytes);
  __m512 even[GROUPS], odd[GROUPS];
  for (int g = 0; g < GROUPS; g++) even[g] = odd[g] = _mm512_setzero_ps();
  for (int64_t c = 0; c < blocks * 16; c++) {
    const __m512 first = _mm512_set1_ps(x.values[2 * c]), second = _mm512_set1_ps(x.values[2 * c + 1]);
    for (int g = 0; g < GROUPS; g++) {
      const uint8_t* from = w + g * bytes + c * 64;
      prefetch(from + ahead);
      const __m512i pair = _mm512_load_si512(from);
      even[g] = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)), first, even[g]);
      odd[g] = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(pair, high)), second, odd[g]);
    }
  }
  for (int g = 0; g < GROUPS; g++) _mm512_storeu_ps(y + g * kGroup, _mm512_add_ps(even[g], odd[g]));
}

template <int GROUPS>
NATIVE_INLINE void int8_int8_groups(const uint8_t* w, int64_t bytes, int64_t blocks, const Activations& x, float* y) {
  const int64_t ahead = distance<GROUPS>(bytes);
  __m512 total[GROUPS];
  for (int g = 0; g < GROUPS; g++) total[g] = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; b++) {
    const auto [four] = fours_of(x.quantized + b * kBlock);
    const __m512i base = _mm512_set1_epi32(-128 * x.sum[b]);
    const __m512 size = _mm512_set1_ps(x.scale[b]);
    for (int g = 0; g < GROUPS; g++) {
      const uint8_t* from = w + g * bytes + b * 512;
      __m512i even = base, odd = _mm512_setzero_si512();
      for (int j = 0; j < 8; j += 2) {
        prefetch(from + j * 64 + ahead);
        prefetch(from + j * 64 + 64 + ahead);
        even = _mm512_dpbusd_epi32(even, _mm512_load_si512(from + j * 64), four[j]);
        odd = _mm512_dpbusd_epi32(odd, _mm512_load_si512(from + j * 64 + 64), four[j + 1]);
      }
      const __m512 scale = bf16_scales(w + g * bytes + blocks * 512 + b * 2 * kGroup);
      total[g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(even, odd)), _mm512_mul_ps(scale, size), total[g]);
    }
  }
  for (int g = 0; g < GROUPS; g++) _mm512_storeu_ps(y + g * kGroup, total[g]);
}

using Groups = void (*)(const uint8_t*, int64_t, int64_t, const Activations&, float*);

// All groups, as many at once as is best as long as there are that many.
template <Groups FOUR, Groups TWO, Groups ONE, Kind KIND>
void product(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  const int64_t blocks = columns / kBlock, bytes = group_bytes(KIND, columns);
  int64_t g = begin;
  for (; g + 4 <= end; g += 4, y += 4 * kGroup) FOUR(w + g * bytes, bytes, blocks, x, y);
  for (; g + 2 <= end; g += 2, y += 2 * kGroup) TWO(w + g * bytes, bytes, blocks, x, y);
  for (; g < end; g++, y += kGroup) ONE(w + g * bytes, bytes, blocks, x, y);
}

template <Kind KIND>
constexpr Product nibbles_int8 =
    product<nibbles_int8_groups<4, KIND>, nibbles_int8_groups<2, KIND>, nibbles_int8_groups<1, KIND>, KIND>;

constexpr Kernels kTable =
    table_of("avx512", product<mxfp4_groups<4>, mxfp4_groups<2>, mxfp4_groups<1>, Kind::kMxfp4>,
             nibbles_int8<Kind::kMxfp4>,
             product<bf16_groups<4>, bf16_groups<2>, bf16_groups<1>, Kind::kBf16>,
             product<int8_int8_groups<4>, int8_int8_groups<2>, int8_int8_groups<1>, Kind::kInt8>,
             nibbles_int8<Kind::kInt4>);

}  // namespace

extern const Kernels* const kAvx512Kernels = &kTable;

}  // namespace native

// Decode kernels for AVX2 with FMA. A group's 16 rows are two registers; two groups go at once.
#define NATIVE_WIDTH 8
#include "generic.h"

#include <immintrin.h>

namespace native {
namespace {

constexpr int64_t kAhead = 2048;  // how many bytes ahead to prefetch

NATIVE_INLINE void prefetch(const void* from) {
  _mm_prefetch(static_cast<const char*>(from) + kAhead, _MM_HINT_T0);
}

NATIVE_INLINE __m256i load_words(const uint8_t* from) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
}

NATIVE_INLINE __m256 e8m0(const uint8_t* scales) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(scales));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu8_epi32(bytes), 23));
}

NATIVE_INLINE __m256i four_bytes(const int8_t* from) {
  int32_t word;
  std::memcpy(&word, from, sizeof word);
  return _mm256_set1_epi32(word);
}

// In all of these functions, a half is 8 rows of a group, and HALVES halves are 8 * HALVES rows.
NATIVE_INLINE const uint8_t* half_of(const uint8_t* w, int64_t bytes, int half) {
  return w + half / 2 * bytes + half % 2 * 32;
}

template <int HALVES>
NATIVE_INLINE void mxfp4_halves(const uint8_t* w, int64_t bytes, int64_t blocks, const Activations& x, float* y) {
  const __m256 magnitudes = _mm256_setr_ps(0, .5f, 1, 1.5f, 2, 3, 4, 6);
  const __m256i sign = _mm256_set1_epi32(static_cast<int>(0x80000000u));
  __m256 total[HALVES];
  for (int h = 0; h < HALVES; h++) total[h] = _mm256_setzero_ps();
  for (int64_t b = 0; b < blocks; b++) {
    __m256 part[HALVES];
    for (int h = 0; h < HALVES; h++) part[h] = _mm256_setzero_ps();
    for (int j = 0; j < 4; j++) {
      const float* values = x.values + b * kBlock + 8 * j;
      __m256i q[HALVES];
      for (int h = 0; h < HALVES; h++) {
        const uint8_t* from = half_of(w, bytes, h) + b * 256 + j * 64;
        if (h % 2 == 0) prefetch(from);
        q[h] = load_words(from);
      }
      // Nibble n of a row's 32 bits is column n / 2 + 4 (n % 2); the look-up takes the lowest three bits of a lane, and
      // the fourth is the sign.
      for (int n = 0; n < 8; n++) {
        const __m256 value = _mm256_set1_ps(values[n / 2 + 4 * (n % 2)]);
        for (int h = 0; h < HALVES; h++) {
          const __m256 magnitude = _mm256_permutevar8x32_ps(magnitudes, _mm256_srli_epi32(q[h], 4 * n));
          const __m256i negative = _mm256_and_si256(_mm256_slli_epi32(q[h], 28 - 4 * n), sign);
          part[h] = _mm256_fmadd_ps(_mm256_xor_ps(magnitude, _mm256_castsi256_ps(negative)), value, part[h]);
        }
      }
    }
    for (int h = 0; h < HALVES; h++) {
      const uint8_t* scales = w + h / 2 * bytes + blocks * 256 + b * kGroup + h % 2 * 8;
      total[h] = _mm256_fmadd_ps(part[h], e8m0(scales), total[h]);
    }
  }
  for (int h = 0; h < HALVES; h++) _mm256_storeu_ps(y + h * 8, total[h]);
}

NATIVE_INLINE __m256 bf16_scales(const uint8_t* scales) {
  const __m128i bits = _mm_load_si128(reinterpret_cast<const __m128i*>(scales));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// For MXFP4 and INT4.
template <int HALVES, Kind KIND>
NATIVE_INLINE void nibbles_int8_halves(const uint8_t* w, int64_t bytes, int64_t blocks, const Activations& x, float* y) {
  // Twice the value plus 12 or 15, since the byte product needs an unsigned first operand. No pair's sum reaches 2 **
  // 15.
  constexpr bool kLinear = KIND == Kind::kInt4;
  const __m256i lut = _mm256_broadcastsi128_si256(
      kLinear ? _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
              : _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  __m256 total[HALVES];
  for (int h = 0; h < HALVES; h++) total[h] = _mm256_setzero_ps();
  for (int64_t b = 0; b < blocks; b++) {
    const int8_t* values = x.quantized + b * kBlock;
    const __m256i base = _mm256_set1_epi32((kLinear ? -15 : -12) * x.sum[b]);
    const __m256 size = _mm256_set1_ps(x.scale[b] * 0.5f);
    __m256i sum[HALVES];
    for (int h = 0; h < HALVES; h++) sum[h] = base;
    for (int j = 0; j < 4; j++) {
      const __m256i first = four_bytes(values + 8 * j), second = four_bytes(values + 8 * j + 4);
      for (int h = 0; h < HALVES; h++) {
        const uint8_t* from = half_of(w, bytes, h) + b * 256 + j * 64;
        if (h % 2 == 0) prefetch(from);
        const __m256i q = load_words(from);
        const __m256i even = _mm256_maddubs_epi16(_mm256_shuffle_epi8(lut, _mm256_and_si256(q, low)), first);
        const __m256i odd = _mm256_maddubs_epi16(
            _mm256_shuffle_epi8(lut, _mm256_and_si256(_mm256_srli_epi16(q, 4), low)), second);
        sum[h] = _mm256_add_epi32(sum[h], _mm256_madd_epi16(_mm256_add_epi16(even, odd), ones));
      }
    }
    for (int h = 0; h < HALVES; h++) {
      const uint8_t* scales = w + h / 2 * bytes + blocks * 256 + (b * kGroup + h % 2 * 8) * (kLinear ? 2 : 1);
      const __m256 scale = kLinear ? bf16_scales(scales) : e8m0(scales);
      total[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[h]), _mm256_mul_ps(scale, size), total[h]);
    }
  }
  for (int h = 0; h < HALVES; h++) _mm256_storeu_ps(y + h * 8, total[h]);
}

template <int HALVES>
NATIVE_INLINE void bf16_halves(const uint8_t* w, int64_t bytes, int64_t blocks, const Activations& x, float* y) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  __m256 even[HALVES], odd[HALVES];
  for (int h = 0; h < HALVES; h++) even[h] = odd[h] = _mm256_setzero_ps();
  for (int64_t c = 0; c < blocks * 16; c++) {
    const __m256 first = _mm256_set1_ps(x.values[2 * c]), second = _mm256_set1_ps(x.values[2 * c + 1]);
    for (int h = 0; h < HALVES; h++) {
      const uint8_t* from = half_of(w, bytes, h) + c * 64;
      if (h % 2 == 0) prefetch(from);
      const __m256i pair = load_words(from);
      even[h] = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(pair, 16)), first, even[h]);
      odd[h] = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(pair, high)), second, odd[h]);
    }
  }
  for (int h = 0; h < HALVES; h++) _mm256_storeu_ps(y + h * 8, _mm256_add_ps(even[h], odd[h]));
}

template <int HALVES>
NATIVE_INLINE void int8_int8_halves(const uint8_t* w, int64_t bytes, int64_t blocks, const Activations& x, float* y) {
  const __m256i bias = _mm256_set1_epi8(static_cast<char>(0x80)), ones = _mm256_set1_epi16(1);
  __m256 total[HALVES];
  for (int h = 0; h < HALVES; h++) total[h] = _mm256_setzero_ps();
  for (int64_t b = 0; b < blocks; b++) {
    const int8_t* values = x.quantized + b * kBlock;
    const __m256 size = _mm256_set1_ps(x.scale[b]);
    __m256i sum[HALVES];
    for (int h = 0; h < HALVES; h++) sum[h] = _mm256_setzero_si256();
    for (int j = 0; j < 8; j++) {
      const __m256i four = four_bytes(values + 4 * j);
      for (int h = 0; h < HALVES; h++) {
        const uint8_t* from = half_of(w, bytes, h) + b * 512 + j * 64;
        if (h % 2 == 0) prefetch(from);
        // Magnitudes times signed activations: 2 * 127 * 127 stays below 2 ** 15, which 255 * 127 would not.
        const __m256i weight = _mm256_xor_si256(load_words(from), bias);
        const __m256i products = _mm256_maddubs_epi16(_mm256_abs_epi8(weight), _mm256_sign_epi8(four, weight));
        sum[h] = _mm256_add_epi32(sum[h], _mm256_madd_epi16(products, ones));
      }
    }
    for (int h = 0; h < HALVES; h++) {
      const __m256 scale = bf16_scales(w + h / 2 * bytes + blocks * 512 + b * 2 * kGroup + h % 2 * 16);
      total[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[h]), _mm256_mul_ps(scale, size), total[h]);
    }
  }
  for (int h = 0; h < HALVES; h++) _mm256_storeu_ps(y + h * 8, total[h]);
}

using Rows = void (*)(const uint8_t*, int64_t, int64_t, const Activations&, float*);

// All groups, two at once as long as there are two.
template <Rows FOUR, Rows TWO, Kind KIND>
void product(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  const int64_t blocks = columns / kBlock, bytes = group_bytes(KIND, columns);
  int64_t g = begin;
  for (; g + 2 <= end; g += 2, y += 2 * kGroup) FOUR(w + g * bytes, bytes, blocks, x, y);
  for (; g < end; g++, y += kGroup) TWO(w + g * bytes, bytes, blocks, x, y);
}

template <Kind KIND>
constexpr Product nibbles_int8 = product<nibbles_int8_halves<4, KIND>, nibbles_int8_halves<2, KIND>, KIND>;

constexpr Kernels kTable = table_of("avx2", product<mxfp4_halves<4>, mxfp4_halves<2>, Kind::kMxfp4>,
                                    nibbles_int8<Kind::kMxfp4>,
                                    product<bf16_halves<4>, bf16_halves<2>, Kind::kBf16>,
                                    product<int8_int8_halves<4>, int8_int8_halves<2>, Kind::kInt8>,
                                    nibbles_int8<Kind::kInt4>);

}  // namespace

extern const Kernels* const kAvx2Kernels = &kTable;

}  // namespace native

// Attention with AVX-512 BF16: queries and shares are rounded to bf16, keys and values are bf16 already, sums are
// float32.
#include "attention.h"

#include <immintrin.h>

namespace native {
namespace {

struct PairArithmetic {
  using Number = uint16_t;
  static constexpr int kRows = 12;

  static void round(const float* x, int32_t count, uint16_t* to) {
    for (int32_t i = 0; i < count; i += 32) {
      _mm512_storeu_si512(to + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i)));
    }
  }

  // Transposes 16 vectors of 16 numbers.
  static void transpose(__m512i* x) {
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

  // Rows are [dim / 2] pairs; a group of 16 keys becomes [dim / 2][16].
  static void key_panel(const void* rows, bool, int32_t count, int32_t dim, uint16_t* to) {
    const auto* from = static_cast<const uint16_t*>(rows);
    for (int32_t g = 0; g < kKeys; g += kGroup) {
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

  // A pair has two keys: a group of 16 dimensions becomes [kKeys / 2][16].
  static void value_panel(const void* rows, bool, int32_t count, int32_t dim, uint16_t* to) {
    const auto* from = static_cast<const uint16_t*>(rows);
    for (int32_t k = 0; k < kKeys; k += 2) {
      for (int32_t d = 0; d < dim; d += kGroup) {
        const auto* pair = reinterpret_cast<const __m256i*>(from + k * dim + d);
        const auto* other = reinterpret_cast<const __m256i*>(from + (k + 1) * dim + d);
        const __m512i first = k < count ? _mm512_cvtepu16_epi32(_mm256_loadu_si256(pair)) : _mm512_setzero_si512();
        const __m512i second = k + 1 < count ? _mm512_cvtepu16_epi32(_mm256_loadu_si256(other)) : _mm512_setzero_si512();
        _mm512_storeu_si512(to + d * kKeys + k * kGroup, _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
      }
    }
  }

  template <int Rows>
  static void tile(const uint16_t* a, int a_stride, const uint16_t* panel, int depth, float* c, int c_stride,
                   const float* shrink) {
    __m512 sum[Rows][2];
    for (int r = 0; r < Rows; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int p = 0; p < depth / 2; p++) {
      const auto first = (__m512bh)_mm512_loadu_si512(panel + p * 32);
      const auto second = (__m512bh)_mm512_loadu_si512(panel + kGroup * depth + p * 32);
      for (int r = 0; r < Rows; r++) {
        int32_t pair;
        std::memcpy(&pair, a + r * a_stride + 2 * p, 4);
        const auto x = (__m512bh)_mm512_set1_epi32(pair);
        sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, first);
        sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, second);
      }
    }
    for (int r = 0; r < Rows; r++) {
      for (int v = 0; v < 2; v++) {
        float* out = c + r * c_stride + v * kGroup;
        if (shrink != nullptr) sum[r][v] = _mm512_fmadd_ps(_mm512_loadu_ps(out), _mm512_set1_ps(shrink[r]), sum[r][v]);
        _mm512_storeu_ps(out, sum[r][v]);
      }
    }
  }

  using TileFunction = void (*)(const uint16_t*, int, const uint16_t*, int, float*, int, const float*);
  template <int... Rows>
  static constexpr std::array<TileFunction, kRows> tiles(std::integer_sequence<int, Rows...>) {
    return {tile<Rows + 1>...};
  }

  static void multiply(int32_t rows, const uint16_t* a, int a_stride, const uint16_t* panel, int depth, float* c,
                       int c_stride, const float* shrink) {
    static constexpr auto kTiles = tiles(std::make_integer_sequence<int, kRows>());
    kTiles[static_cast<size_t>(rows) - 1](a, a_stride, panel, depth, c, c_stride, shrink);
  }
};

constexpr Attention kAttention = {sizeof(TileMemory<PairArithmetic>), attend_tile<PairArithmetic>};

}  // namespace

extern const Attention* const kAttentionBf16 = &kAttention;

}  // namespace native

// Attention with AVX-512 BF16: queries and shares are rounded to bf16, keys and values are bf16 already, sums are
// float32.
#include "attention.h"
#include "attention_pairs.h"

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

  static void key_panel(const void* rows, bool, int32_t count, int32_t dim, uint16_t* to) {
    key_pairs(static_cast<const uint16_t*>(rows), count, dim, kKeys, to);
  }
  static void value_panel(const void* rows, bool, int32_t count, int32_t dim, uint16_t* to) {
    value_pairs(static_cast<const uint16_t*>(rows), count, dim, kKeys, to);
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

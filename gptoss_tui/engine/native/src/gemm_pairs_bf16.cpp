// Products of bf16 pairs with AVX-512 (VDPBF16PS), added up in float32. A tile of activations is [columns / 2][parts]
// [count] pairs: one part rounded to bf16, or two parts whose sum has 16 bits.
#include "pairs.h"

#include <array>
#include <cstring>
#include <utility>

namespace native {
namespace {

constexpr int kRows = 12;

template <int Rows, int Parts>
void multiply_tile(const Strip& strip, const int32_t* a, int64_t pairs, float* c, Ahead& ahead, int lines) {
  const auto* w0 = static_cast<const uint8_t*>(strip.values[0]);
  const auto* w1 = static_cast<const uint8_t*>(strip.values[1]);
  __m512 sum[Rows][2];
  for (int r = 0; r < Rows; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
  for (int64_t p = 0; p < pairs; p++, a += Rows * Parts) {
    if (p % (kBlock / 2) == 0) fetch(ahead, lines);
    const auto first = (__m512bh)_mm512_loadu_si512(w0 + p * 64);
    const auto second = (__m512bh)_mm512_loadu_si512(w1 + p * 64);
    for (int part = 0; part < Parts; part++) {
      for (int r = 0; r < Rows; r++) {
        const auto x = (__m512bh)_mm512_set1_epi32(a[part * Rows + r]);
        sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, first);
        sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, second);
      }
    }
  }
  for (int r = 0; r < Rows; r++) {
    _mm512_storeu_ps(c + r * kStrip, sum[r][0]);
    _mm512_storeu_ps(c + r * kStrip + kGroup, sum[r][1]);
  }
}

using TileFunction = void (*)(const Strip&, const int32_t*, int64_t, float*, Ahead&, int);
template <int Parts, int... Rows>
constexpr std::array<TileFunction, kRows> tile_functions(std::integer_sequence<int, Rows...>) {
  return {multiply_tile<Rows + 1, Parts>...};
}
template <int Parts>
constexpr auto kTiles = tile_functions<Parts>(std::make_integer_sequence<int, kRows>());

template <int Parts>
size_t row_bytes(Kind, int64_t columns) {
  return static_cast<size_t>(columns) * 2 * Parts;
}

template <int Parts>
void multiply(Kind, const Strip& strip, int64_t columns, const void* packed, int32_t count, const Output& output,
              Ahead ahead) {
  const int lines = lines_of(ahead, tile_count(count, kRows) * (columns / kBlock));
  multiply_rows<kRows>(count, output, [&](int32_t first, int32_t rows, float* c) {
    const auto* a = static_cast<const int32_t*>(packed) + first * (columns / 2) * Parts;
    kTiles<Parts>[rows - 1](strip, a, columns / 2, c, ahead, lines);
  });
}

template <int Parts>
uint64_t pack(Kind kind, const float* const* rows, int32_t count, int64_t columns, void* tile) {
  for (int32_t r = 0; r < count; r++) {
    int32_t* out = static_cast<int32_t*>(tile) + r;
    for (int64_t b = 0; b < columns / kBlock; b++) {
      alignas(64) int32_t pairs[Parts][16];
      _mm512_store_si512(pairs[0], pack_block(kind, rows[r] + b * kBlock));
      if (Parts == 2) _mm512_store_si512(pairs[Parts - 1], pack_rest(kind, rows[r] + b * kBlock));
      for (int p = 0; p < 16; p++) {
        for (int part = 0; part < Parts; part++, out += count) *out = pairs[part][p];
      }
    }
  }
  return 0;
}

// Products in two parts take twice as many operations as are counted.
template <int Parts>
int64_t peak(int64_t steps) {
  constexpr int kChains = 12;
  __m512 sum[kChains];
  __m512i w = _mm512_setzero_si512();
  for (auto& chain : sum) chain = _mm512_setzero_ps();
  for (int64_t i = 0; i < steps; i++) {
    asm volatile("" : "+v"(w));
#pragma GCC unroll 16
    for (auto& chain : sum) chain = _mm512_dpbf16_ps(chain, (__m512bh)w, (__m512bh)w);
  }
  for (int c = 1; c < kChains; c++) sum[0] = _mm512_add_ps(sum[0], sum[c]);
  return steps * kChains * 16 * 4 / Parts + static_cast<int64_t>(_mm512_cvtss_f32(sum[0]));
}

constexpr Gemm kOne = {"bf16-avx512", kRows, kAnyCount, row_bytes<1>, pairs_panel_bytes, pack<1>, unpack_pairs, multiply<1>, peak<1>};
constexpr Gemm kTwo = {"bf16x2-avx512", kRows, kAnyCount, row_bytes<2>, pairs_panel_bytes, pack<2>, unpack_pairs, multiply<2>, peak<2>};

}  // namespace

extern const Gemm* const kPairsBf16 = &kOne;
extern const Gemm* const kSplitBf16 = &kTwo;

}  // namespace native

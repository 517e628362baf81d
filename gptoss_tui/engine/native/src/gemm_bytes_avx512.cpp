// Byte products with AVX-512 VNNI: weights are unsigned bytes, activations int8 in groups of 32 columns that share a
// float scale. 32 products are summed exactly; their sum times both scales is added up in float32.
//
// A tile of activations is [blocks] of: bytes [8][count][4], scale [count], minus offset times the sum of the bytes
// [count].
#include <immintrin.h>

#include <array>
#include <cstring>
#include <utility>

#include "bytes_x86.h"

namespace native {
namespace {

int32_t offset_of(Kind kind) { return kind == Kind::kMxfp4 ? kOffset : 128; }

// Unpacks a block of a group of MXFP4 into its panel.
void unpack_block(const uint8_t* nibbles, const uint8_t* exponents, uint8_t* values, int32_t* to) {
  const __m512i table = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(kTwiceE2m1)));
  const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) {
    const __m512i both = _mm512_loadu_si512(nibbles + j * 64);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    _mm512_storeu_si512(values + j * 128, _mm512_shuffle_epi8(table, _mm512_and_si512(both, low)));
    _mm512_storeu_si512(values + j * 128 + 64, _mm512_shuffle_epi8(table, high));
  }
  // 2 ** (byte - 127) of the value, half of it for twice the value.
  __m512i exponent = _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(exponents))),
                                      _mm512_set1_epi32(128));
  exponent = _mm512_max_epi32(exponent, _mm512_set1_epi32(-kMostExponent));
  exponent = _mm512_min_epi32(exponent, _mm512_set1_epi32(kMostExponent));
  _mm512_storeu_si512(to, _mm512_slli_epi32(exponent, 23));
}

// Where a tile gets its weights: those of MXFP4 are unpacked by the first tile (`kFresh`), 8-bit ones are used as they
// are.
enum class Source { kFresh, kUnpacked, kInt8 };

template <int Rows, Source source>
void multiply_tile(const Strip& strip, const int32_t* a, int64_t blocks, float* c, Ahead& ahead, int lines) {
  const uint8_t* w[2] = {static_cast<const uint8_t*>(strip.values[0]), static_cast<const uint8_t*>(strip.values[1])};
  const float* s[2] = {strip.scales[0], strip.scales[1]};
  __m512 total[Rows][2];
  for (int r = 0; r < Rows; r++) total[r][0] = total[r][1] = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; b++, a += kWords * Rows) {
    fetch(ahead, lines);
    if (source == Source::kFresh) {
      const Panel panel = panel_at(strip.panel, blocks);
      for (int v = 0; v < 2; v++) {
        unpack_block(strip.packed[v] + b * 256, strip.packed[v] + blocks * 256 + b * kGroup, panel.values[v] + b * 512,
                     panel.exponents[v] + b * kGroup);
      }
    }
    __m512i sum[Rows][2];
    for (int r = 0; r < Rows; r++) sum[r][0] = sum[r][1] = _mm512_set1_epi32(a[9 * Rows + r]);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      const __m512i w0 = _mm512_loadu_si512(w[0] + b * 512 + j * 64);
      const __m512i w1 = _mm512_loadu_si512(w[1] + b * 512 + j * 64);
      for (int r = 0; r < Rows; r++) {
        const __m512i x = _mm512_set1_epi32(a[j * Rows + r]);
        sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], w0, x);
        sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], w1, x);
      }
    }
    for (int v = 0; v < 2; v++) {
      const __m512 ws = _mm512_loadu_ps(s[v] + b * kGroup);
      for (int r = 0; r < Rows; r++) {
        const __m512i bits = _mm512_set1_epi32(a[8 * Rows + r]);
        const __m512 scale = source == Source::kInt8
                                 ? _mm512_mul_ps(_mm512_castsi512_ps(bits), ws)
                                 : _mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_castps_si512(ws)));
        total[r][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][v]), scale, total[r][v]);
      }
    }
  }
  for (int r = 0; r < Rows; r++) {
    _mm512_storeu_ps(c + r * kStrip, total[r][0]);
    _mm512_storeu_ps(c + r * kStrip + kGroup, total[r][1]);
  }
}

using TileFunction = void (*)(const Strip&, const int32_t*, int64_t, float*, Ahead&, int);
template <Source source, int... Rows>
constexpr std::array<TileFunction, kRows> tile_functions(std::integer_sequence<int, Rows...>) {
  return {multiply_tile<Rows + 1, source>...};
}
template <Source source>
constexpr auto kTiles = tile_functions<source>(std::make_integer_sequence<int, kRows>());

void multiply(Kind kind, const Strip& strip, int64_t columns, const void* packed, int32_t count, const Output& output,
              Ahead ahead) {
  const auto& fresh = kind == Kind::kMxfp4 ? kTiles<Source::kFresh> : kTiles<Source::kInt8>;
  const auto& later = kind == Kind::kMxfp4 ? kTiles<Source::kUnpacked> : kTiles<Source::kInt8>;
  const int64_t blocks = columns / kBlock;
  const int lines = lines_of(ahead, tile_count(count, kRows) * blocks);
  multiply_rows<kRows>(count, output, [&](int32_t first, int32_t rows, float* c) {
    const auto* a = static_cast<const int32_t*>(packed) + first * blocks * kWords;
    (first == 0 ? fresh : later)[static_cast<size_t>(rows - 1)](strip, a, blocks, c, ahead, lines);
  });
}

uint64_t pack(Kind kind, const float* const* rows, int32_t count, int64_t columns, void* tile) {
  constexpr int32_t kInfinity = 0x7f800000;
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  uint64_t lost = 0;
  for (int32_t r = 0; r < count; r++) {
    int32_t* out = static_cast<int32_t*>(tile) + r;
    for (int64_t b = 0; b < columns / kBlock; b++, out += kWords * count) {
      const __m512 x0 = _mm512_loadu_ps(rows[r] + b * kBlock), x1 = _mm512_loadu_ps(rows[r] + b * kBlock + 16);
      // Magnitudes are ordered as their bits are, with infinity and NaN last.
      const int32_t bits = _mm512_reduce_max_epi32(_mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(x0), magnitude),
                                                                    _mm512_and_si512(_mm512_castps_si512(x1), magnitude)));
      if (bits >= kInfinity) lost |= uint64_t{1} << r;
      float most;
      std::memcpy(&most, &bits, 4);
      const float scale = at_least(most / 127.0f, kLeastScale);
      const __m512 inverse = _mm512_set1_ps(1.0f / scale);
      const __m512i q0 = _mm512_cvtps_epi32(_mm512_mul_ps(x0, inverse));
      const __m512i q1 = _mm512_cvtps_epi32(_mm512_mul_ps(x1, inverse));
      alignas(32) int32_t words[8];
      _mm_store_si128(reinterpret_cast<__m128i*>(words), _mm512_cvtsepi32_epi8(q0));
      _mm_store_si128(reinterpret_cast<__m128i*>(words + 4), _mm512_cvtsepi32_epi8(q1));
      for (int j = 0; j < 8; j++) out[j * count] = words[j];
      std::memcpy(&out[8 * count], &scale, 4);
      out[9 * count] = -offset_of(kind) * _mm512_reduce_add_epi32(_mm512_add_epi32(q0, q1));
    }
  }
  return lost;
}

void unpack_scales(const uint8_t* group, int64_t blocks, float* scales) {
  const uint8_t* halves = group + blocks * 512;
  for (int64_t b = 0; b < blocks; b++) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves + b * kGroup * 2));
    _mm512_storeu_si512(scales + b * kGroup, _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
}

size_t panel_bytes(Kind kind, int64_t columns) {
  const int64_t blocks = columns / kBlock;
  return kind == Kind::kMxfp4 ? panel_size(blocks) : 2 * static_cast<size_t>(blocks) * kGroup * sizeof(float);
}

Strip unpack(Kind kind, const uint8_t* const* groups, int64_t columns, void* memory) {
  const int64_t blocks = columns / kBlock;
  Strip strip{};
  const Panel panel = panel_at(memory, blocks);
  strip.panel = memory;
  for (int g = 0; g < 2; g++) {
    strip.packed[g] = groups[g];
    strip.scales[g] = reinterpret_cast<const float*>(panel.exponents[g]);
    strip.values[g] = kind == Kind::kMxfp4 ? panel.values[g] : groups[g];
    if (kind == Kind::kInt8) unpack_scales(groups[g], blocks, reinterpret_cast<float*>(panel.exponents[g]));
  }
  return strip;
}

int64_t peak(int64_t steps) {
  constexpr int kChains = 2 * kRows;
  __m512i sum[kChains], w = _mm512_setzero_si512();
  for (auto& chain : sum) chain = w;
  for (int64_t i = 0; i < steps; i++) {
    asm volatile("" : "+v"(w));
    for (auto& chain : sum) chain = _mm512_dpbusd_epi32(chain, w, w);
  }
  for (const auto& chain : sum) w = _mm512_add_epi32(w, chain);
  return steps * kChains * 16 * 8 + _mm512_cvtsi512_si32(w);
}

constexpr Gemm kGemm = {"int8-avx512", kRows, kAnyCount, row_bytes, panel_bytes, pack, unpack, multiply, peak};

}  // namespace

extern const Gemm* const kBytesAvx512 = &kGemm;

}  // namespace native

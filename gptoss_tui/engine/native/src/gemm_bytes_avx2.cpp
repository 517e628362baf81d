// Byte products of MXFP4 with AVX2: activations are int8 in groups of 32 columns that share a float scale. 32 products
// are summed exactly; their sum times both scales is added up in float32.
//
// Twice a value + 12 is a byte of at most 24. Its products with int8 are added up in 16-bit lanes, each over 16 columns
// of a block, starting from minus 12 times the sum of the activations: then no intermediate sum exceeds 12 * 127 * 16 =
// 24384, and lanes are widened once per block. Products of two int8 do not fit: gemm_words_avx2.cpp has those.
//
// A tile of activations is [blocks] of: bytes [8][count][4], scale [count], minus 12 times the sums of the bytes in 16
// bits, [count][2].
#include <immintrin.h>

#include <array>
#include <cstring>
#include <utility>

#include "avx2.h"
#include "bytes_x86.h"

namespace native {
namespace {

// Unpacks a block of a group into its panel.
void unpack_block(const uint8_t* nibbles, const uint8_t* exponents, uint8_t* values, int32_t* to) {
  const __m256i table = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(kTwiceE2m1)));
  const __m256i low = _mm256_set1_epi8(15);
  for (int j = 0; j < 4; j++) {
    for (int h = 0; h < 64; h += 32) {
      const __m256i both = load(nibbles + j * 64 + h);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
      store(values + j * 128 + h, _mm256_shuffle_epi8(table, _mm256_and_si256(both, low)));
      store(values + j * 128 + 64 + h, _mm256_shuffle_epi8(table, high));
    }
  }
  for (int h = 0; h < kGroup; h += kLanes) {  // 2 ** (byte - 127) of the value, half of it for twice the value
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(exponents + h));
    __m256i exponent = _mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), _mm256_set1_epi32(128));
    exponent = _mm256_max_epi32(exponent, _mm256_set1_epi32(-kMostExponent));
    exponent = _mm256_min_epi32(exponent, _mm256_set1_epi32(kMostExponent));
    store(to + h, _mm256_slli_epi32(exponent, 23));
  }
}

// Computes one group's results for a tile; the first tile (`Fresh`) also unpacks the group.
template <int Rows, bool Fresh>
void multiply_group(const uint8_t* packed, uint8_t* values, int32_t* exponents, const int32_t* a, int64_t blocks, float* c,
                    Ahead& ahead, int lines) {
  for (int r = 0; r < Rows; r++) {
    for (int part = 0; part < kParts; part++) _mm256_storeu_ps(c + r * kStrip + part * kLanes, _mm256_setzero_ps());
  }
  for (int64_t b = 0; b < blocks; b++, a += kWords * Rows) {
    fetch(ahead, lines);
    uint8_t* w = values + b * 512;
    int32_t* by = exponents + b * kGroup;
    if (Fresh) unpack_block(packed + b * 256, packed + blocks * 256 + b * kGroup, w, by);
    __m256i sum[Rows][kParts];
    for (int r = 0; r < Rows; r++) {
      for (int part = 0; part < kParts; part++) sum[r][part] = _mm256_set1_epi32(a[9 * Rows + r]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      const __m256i w0 = load(w + j * 64), w1 = load(w + j * 64 + 32);
#pragma GCC unroll 6
      for (int r = 0; r < Rows; r++) {
        const __m256i x = _mm256_set1_epi32(a[j * Rows + r]);
        sum[r][0] = _mm256_add_epi16(sum[r][0], _mm256_maddubs_epi16(w0, x));
        sum[r][1] = _mm256_add_epi16(sum[r][1], _mm256_maddubs_epi16(w1, x));
        keep_order(sum[r][0], sum[r][1]);
      }
    }
    for (int r = 0; r < Rows; r++) {
      const __m256i bits = _mm256_set1_epi32(a[8 * Rows + r]);
      for (int part = 0; part < kParts; part++) {
        const __m256 wide = _mm256_cvtepi32_ps(_mm256_madd_epi16(sum[r][part], _mm256_set1_epi16(1)));
        const __m256 scale = _mm256_castsi256_ps(_mm256_add_epi32(bits, load(by + part * kLanes)));
        float* out = c + r * kStrip + part * kLanes;
        _mm256_storeu_ps(out, _mm256_fmadd_ps(wide, scale, _mm256_loadu_ps(out)));
      }
    }
  }
}

using GroupFunction = void (*)(const uint8_t*, uint8_t*, int32_t*, const int32_t*, int64_t, float*, Ahead&, int);
template <bool Fresh, int... Rows>
constexpr std::array<GroupFunction, kRows> group_functions(std::integer_sequence<int, Rows...>) {
  return {multiply_group<Rows + 1, Fresh>...};
}
constexpr auto kFresh = group_functions<true>(std::make_integer_sequence<int, kRows>());
constexpr auto kUnpacked = group_functions<false>(std::make_integer_sequence<int, kRows>());

void multiply(Kind, const Strip& strip, int64_t columns, const void* activations, int32_t count, const Output& output,
              Ahead ahead) {
  const int64_t blocks = columns / kBlock;
  const Panel panel = panel_at(strip.panel, blocks);
  const int lines = lines_of(ahead, 2 * tile_count(count, kRows) * blocks);
  multiply_rows<kRows>(count, output, [&](int32_t first, int32_t rows, float* c) {
    const int32_t* a = static_cast<const int32_t*>(activations) + first * blocks * kWords;
    const auto function = (first == 0 ? kFresh : kUnpacked)[static_cast<size_t>(rows - 1)];
    for (int g = 0; g < 2; g++) {
      function(strip.packed[g], panel.values[g], panel.exponents[g], a, blocks, c + g * kGroup, ahead, lines);
    }
  });
}

// Rounds 32 values to int8 with a common scale. Returns false if one of them is infinite or NaN.
bool round_block(const float* x, int8_t* bytes, float* scale) {
  const int32_t bits = most_bits(x);
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  *scale = at_least(largest / 127.0f, kLeastScale);
  const __m256 inverse = _mm256_set1_ps(1.0f / *scale);
  __m256i q[4];
  for (int i = 0; i < 4; i++) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
  // Packing alternates between four elements of one register and four of the next.
  const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  store(bytes, _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
  return bits < kInfinity;
}

uint64_t pack(Kind, const float* const* rows, int32_t count, int64_t columns, void* tile) {
  uint64_t lost = 0;
  for (int32_t r = 0; r < count; r++) {
    int32_t* out = static_cast<int32_t*>(tile) + r;
    for (int64_t b = 0; b < columns / kBlock; b++, out += kWords * count) {
      alignas(32) int8_t bytes[kBlock];
      float scale;
      if (!round_block(rows[r] + b * kBlock, bytes, &scale)) lost |= uint64_t{1} << r;
      for (int j = 0; j < 8; j++) std::memcpy(out + j * count, bytes + 4 * j, 4);
      std::memcpy(out + 8 * count, &scale, sizeof scale);
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), load(bytes));
      __m128i sums = _mm_add_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
      sums = _mm_add_epi16(sums, _mm_shuffle_epi32(sums, 0x4e));
      sums = _mm_add_epi16(sums, _mm_shuffle_epi32(sums, 0xb1));
      out[9 * count] = _mm_cvtsi128_si32(_mm_mullo_epi16(sums, _mm_set1_epi16(-kOffset)));
    }
  }
  return lost;
}

size_t panel_bytes(Kind, int64_t columns) { return panel_size(columns / kBlock); }

Strip unpack(Kind, const uint8_t* const* groups, int64_t, void* panel) {
  Strip strip{};
  for (int g = 0; g < 2; g++) strip.packed[g] = groups[g];
  strip.panel = panel;
  return strip;
}

int64_t peak(int64_t steps) {
  return run_peak(steps, 4, [](__m256i sum, __m256i w) { return _mm256_add_epi16(w, _mm256_maddubs_epi16(w, sum)); });
}

constexpr Gemm kGemm = {"int8-avx2", kRows, kAnyCount, row_bytes, panel_bytes, pack, unpack, multiply, peak};

}  // namespace

extern const Gemm* const kBytesAvx2 = &kGemm;

}  // namespace native

// Products of 8-bit matrices in 16-bit words with AVX2: activations are in groups of 32 columns that share a float
// scale. 32 products are summed exactly; their sum times both scales is added up in float32. With bytes, each product
// of two int8 would have to be widened; words take half as many instructions as float32.
//
// A panel is, for each group, words [blocks][16][16][2], two columns of each row, and floats [blocks][16]. A tile of
// activations is [blocks] of: words [16][count][2], scale [count].
#include <array>
#include <cstring>
#include <utility>

#include "avx2.h"
#include "epilogue.h"

namespace native {
namespace {

constexpr int kRows = 6;    // tokens of a tile
constexpr int kPairs = 16;  // of columns of a block
constexpr int kWords = kPairs + 1;  // 4-byte words that a block of a token's activations takes
constexpr float kMost = 32767.0f;
constexpr float kLeastScale = 0x1p-60f;  // smaller scales are rounded up to this

// Computes one group's results for a tile.
template <int Rows>
void multiply_group(const uint8_t* values, const float* scales, const int32_t* a, int64_t blocks, float* c, Ahead& ahead,
                    int lines) {
  for (int r = 0; r < Rows; r++) {
    for (int part = 0; part < kParts; part++) _mm256_storeu_ps(c + r * kStrip + part * kLanes, _mm256_setzero_ps());
  }
  for (int64_t b = 0; b < blocks; b++, a += kWords * Rows, values += kPairs * 64, scales += kGroup) {
    fetch(ahead, lines);
    __m256i sum[Rows][kParts];
    for (auto& row : sum) row[0] = row[1] = _mm256_setzero_si256();
#pragma GCC unroll 16
    for (int p = 0; p < kPairs; p++) {
      const __m256i w0 = load(values + p * 64), w1 = load(values + p * 64 + 32);
#pragma GCC unroll 6
      for (int r = 0; r < Rows; r++) {
        const __m256i x = _mm256_set1_epi32(a[p * Rows + r]);
        sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(w0, x));
        sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(w1, x));
        keep_order(sum[r][0], sum[r][1]);
      }
    }
    for (int r = 0; r < Rows; r++) {
      const __m256 by = _mm256_castsi256_ps(_mm256_set1_epi32(a[kPairs * Rows + r]));
      for (int part = 0; part < kParts; part++) {
        const __m256 scale = _mm256_mul_ps(_mm256_loadu_ps(scales + part * kLanes), by);
        float* out = c + r * kStrip + part * kLanes;
        _mm256_storeu_ps(out, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[r][part]), scale, _mm256_loadu_ps(out)));
      }
    }
  }
}

using GroupFunction = void (*)(const uint8_t*, const float*, const int32_t*, int64_t, float*, Ahead&, int);
template <int... Rows>
constexpr std::array<GroupFunction, kRows> group_functions(std::integer_sequence<int, Rows...>) {
  return {multiply_group<Rows + 1>...};
}
constexpr auto kGroups = group_functions(std::make_integer_sequence<int, kRows>());

size_t row_bytes(Kind, int64_t columns) { return static_cast<size_t>(columns / kBlock) * kWords * 4; }

void multiply(Kind, const Strip& strip, int64_t columns, const void* packed, int32_t count, const Output& output,
              Ahead ahead) {
  const int64_t blocks = columns / kBlock;
  const int lines = lines_of(ahead, 2 * tile_count(count, kRows) * blocks);
  multiply_rows<kRows>(count, output, [&](int32_t first, int32_t rows, float* c) {
    const int32_t* a = static_cast<const int32_t*>(packed) + first * blocks * kWords;
    for (int g = 0; g < 2; g++) {
      const auto* values = static_cast<const uint8_t*>(strip.values[g]);
      kGroups[static_cast<size_t>(rows - 1)](values, strip.scales[g], a, blocks, c + g * kGroup, ahead, lines);
    }
  });
}

uint64_t pack(Kind, const float* const* rows, int32_t count, int64_t columns, void* tile) {
  uint64_t lost = 0;
  for (int32_t r = 0; r < count; r++) {
    int32_t* out = static_cast<int32_t*>(tile) + r;
    for (int64_t b = 0; b < columns / kBlock; b++, out += kWords * count) {
      const float* x = rows[r] + b * kBlock;
      const int32_t bits = most_bits(x);
      if (bits >= kInfinity) lost |= uint64_t{1} << r;
      float largest;
      std::memcpy(&largest, &bits, sizeof largest);
      const float scale = at_least(largest / kMost, kLeastScale);
      const __m256 inverse = _mm256_set1_ps(1.0f / scale);
      for (int i = 0; i < kBlock; i += 16) {
        const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), inverse));
        const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8), inverse));
        alignas(32) int32_t pairs[8];  // packing takes four of one register and four of the next by turns
        store(pairs, _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8));
        for (int p = 0; p < 8; p++) out[(i / 2 + p) * count] = pairs[p];
      }
      std::memcpy(out + kPairs * count, &scale, sizeof scale);
    }
  }
  return lost;
}

void unpack_group(const uint8_t* group, int64_t blocks, uint8_t* values, float* scales) {
  const __m256i low = _mm256_set1_epi32(0x00ff00ff), offset = _mm256_set1_epi16(128);
  // The words of each row: bytes 0 and 1, then 2 and 3.
  const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15));
  for (int64_t i = 0; i < blocks * 8; i++, values += 128) {
    for (int h = 0; h < 64; h += 32) {
      const __m256i bytes = _mm256_shuffle_epi8(load(group + i * 64 + h), order);
      store(values + h, _mm256_sub_epi16(_mm256_and_si256(bytes, low), offset));
      store(values + 64 + h, _mm256_sub_epi16(_mm256_srli_epi16(bytes, 8), offset));
    }
  }
  const uint8_t* halves = group + blocks * 512;
  for (int64_t i = 0; i < blocks * kGroup; i += kLanes) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + i * 2));
    store(scales + i, _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
}

size_t panel_bytes(Kind, int64_t columns) {
  return 2 * static_cast<size_t>(columns / kBlock) * (kPairs * 64 + kGroup * sizeof(float));
}

Strip unpack(Kind, const uint8_t* const* groups, int64_t columns, void* panel) {
  const int64_t blocks = columns / kBlock;
  Strip strip;
  float* scales = static_cast<float*>(panel);
  auto* values = reinterpret_cast<uint8_t*>(scales + 2 * blocks * kGroup);
  for (int g = 0; g < 2; g++, scales += blocks * kGroup, values += blocks * kPairs * 64) {
    unpack_group(groups[g], blocks, values, scales);
    strip.values[g] = values;
    strip.scales[g] = scales;
  }
  return strip;
}

int64_t peak(int64_t steps) {
  return run_peak(steps, 2, [](__m256i sum, __m256i w) { return _mm256_add_epi32(w, _mm256_madd_epi16(w, sum)); });
}

constexpr Gemm kGemm = {"int16-avx2", kRows, kAnyCount, row_bytes, panel_bytes, pack, unpack, multiply, peak};

}  // namespace

extern const Gemm* const kWordsAvx2 = &kGemm;

}  // namespace native

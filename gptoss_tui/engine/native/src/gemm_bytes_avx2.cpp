// Products of MXFP4 in bytes with AVX2: activations as int8 in groups of 32 columns that share a float scale. 32 products are
// summed exactly; their sum times both scales is added up in float32.
//
// Twice a value + 12 is a byte of at most 24: four pairs of products with int8 fit 16 bits, so that sums are widened only
// twice in a block. Products of two int8 are widened each time, and no faster than in float32.
//
// A panel is, for each group, bytes [blocks][8][16][4], and floats [blocks][16] that turn them into weights. A tile of
// activations is [blocks] of: bytes [8][count][4], scale [count], minus 12 times the sum of the bytes [count].
#include <immintrin.h>

#include <array>
#include <cstring>
#include <utility>

#include "epilogue.h"

namespace native {
namespace {

constexpr int kRows = 6;    // tokens of a tile
constexpr int kWords = 10;  // of 4 bytes, that a block of a token's activations takes
constexpr int kLanes = 8;   // rows of weights in a register
constexpr int kParts = kStrip / kLanes;
constexpr int kOffset = 12;
constexpr float kLeastScale = 0x1p-60f;  // what is smaller counts as if it were that

__m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
void store(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }

// Sums of 16 columns of 8 rows at `w`, times those of a token at `x`, whose words are `stride` apart.
__m256i half_block(const uint8_t* w, const int32_t* x, int stride) {
  __m256i sum = _mm256_maddubs_epi16(load(w), _mm256_set1_epi32(x[0]));
  for (int j = 1; j < 4; j++) {
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(load(w + j * 64), _mm256_set1_epi32(x[j * stride])));
  }
  return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}

template <int Rows>
void multiply_tile(const Strip& strip, const int32_t* a, int64_t blocks, float* c, Ahead& ahead, int lines) {
  __m256 total[Rows][kParts];
  for (auto& row : total) {
    for (auto& part : row) part = _mm256_setzero_ps();
  }
  for (int64_t b = 0; b < blocks; b++, a += kWords * Rows) {
    fetch(ahead, lines);
    for (int part = 0; part < kParts; part++) {
      const uint8_t* w = static_cast<const uint8_t*>(strip.values[part / 2]) + b * 512 + part % 2 * kLanes * 4;
      const __m256 scales = _mm256_loadu_ps(strip.scales[part / 2] + b * kGroup + part % 2 * kLanes);
      for (int r = 0; r < Rows; r++) {
        const __m256i halves = _mm256_add_epi32(half_block(w, a + r, Rows), half_block(w + 256, a + 4 * Rows + r, Rows));
        const __m256i sum = _mm256_add_epi32(halves, _mm256_set1_epi32(a[9 * Rows + r]));
        const __m256 by = _mm256_mul_ps(scales, _mm256_castsi256_ps(_mm256_set1_epi32(a[8 * Rows + r])));
        total[r][part] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), by, total[r][part]);
      }
    }
  }
  for (int r = 0; r < Rows; r++) {
    for (int part = 0; part < kParts; part++) _mm256_storeu_ps(c + r * kStrip + part * kLanes, total[r][part]);
  }
}

using TileFunction = void (*)(const Strip&, const int32_t*, int64_t, float*, Ahead&, int);
template <int... Rows>
constexpr std::array<TileFunction, kRows> tile_functions(std::integer_sequence<int, Rows...>) {
  return {multiply_tile<Rows + 1>...};
}
constexpr auto kTiles = tile_functions(std::make_integer_sequence<int, kRows>());

size_t row_bytes(Kind, int64_t columns) { return static_cast<size_t>(columns / kBlock) * kWords * 4; }

void multiply(Kind, const Strip& strip, int64_t columns, const void* packed, int32_t count, const Output& output,
              Ahead ahead) {
  const int64_t blocks = columns / kBlock;
  const int lines = lines_of(ahead, tile_count(count, kRows) * blocks);
  multiply_rows<kRows>(count, output, [&](int32_t first, int32_t rows, float* c) {
    const int32_t* a = static_cast<const int32_t*>(packed) + first * blocks * kWords;
    kTiles[static_cast<size_t>(rows - 1)](strip, a, blocks, c, ahead, lines);
  });
}

// 32 values as int8, and the scale that they share. False where one of them is no number.
bool round_block(const float* x, int8_t* bytes, float* scale) {
  constexpr int32_t kInfinity = 0x7f800000;
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i most = _mm256_setzero_si256();  // magnitudes are ordered as their bits are, those of what is no number at the end
  for (int i = 0; i < kBlock; i += 8) most = _mm256_max_epi32(most, _mm256_and_si256(load(x + i), magnitude));
  __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
  const int32_t bits = _mm_cvtsi128_si32(half);
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  *scale = at_least(largest / 127.0f, kLeastScale);
  const __m256 inverse = _mm256_set1_ps(1.0f / *scale);
  __m256i q[4];
  for (int i = 0; i < 4; i++) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
  // Packing takes four of one register and four of the next by turns.
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
      int32_t sum = 0;
      for (int i = 0; i < kBlock; i++) sum += bytes[i];
      out[9 * count] = -kOffset * sum;
    }
  }
  return lost;
}

void unpack_group(const uint8_t* group, int64_t blocks, uint8_t* values, float* scales) {
  const __m256i table =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  const __m256i low = _mm256_set1_epi8(15);
  for (int64_t i = 0; i < blocks * 4; i++) {
    for (int h = 0; h < 64; h += 32) {
      const __m256i both = load(group + i * 64 + h);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
      store(values + i * 128 + h, _mm256_shuffle_epi8(table, _mm256_and_si256(both, low)));
      store(values + i * 128 + 64 + h, _mm256_shuffle_epi8(table, high));
    }
  }
  const uint8_t* exponents = group + blocks * 256;
  for (int64_t i = 0; i < blocks * kGroup; i++) {
    const uint32_t bits = static_cast<uint32_t>(exponents[i] < 2 ? 1 : exponents[i] - 1) << 23;  // of twice the value
    std::memcpy(scales + i, &bits, sizeof bits);
  }
}

size_t panel_bytes(Kind, int64_t columns) {
  return 2 * static_cast<size_t>(columns / kBlock) * (512 + kGroup * sizeof(float));
}

Strip unpack(Kind, const uint8_t* const* groups, int64_t columns, void* panel) {
  const int64_t blocks = columns / kBlock;
  Strip strip;
  float* scales = static_cast<float*>(panel);
  auto* values = static_cast<uint8_t*>(panel) + 2 * blocks * kGroup * static_cast<int64_t>(sizeof(float));
  for (int g = 0; g < 2; g++, scales += blocks * kGroup, values += blocks * 512) {
    unpack_group(groups[g], blocks, values, scales);
    strip.values[g] = values;
    strip.scales[g] = scales;
  }
  return strip;
}

int64_t peak(int64_t steps) {
  constexpr int kChains = 6;
  __m256i sum[kChains], w = _mm256_setzero_si256();
  for (auto& chain : sum) chain = w;
  for (int64_t i = 0; i < steps; i++) {
    asm volatile("" : "+x"(w));
#pragma GCC unroll 6
    for (auto& chain : sum) chain = _mm256_add_epi16(w, _mm256_maddubs_epi16(w, chain));
  }
  for (const auto& chain : sum) w = _mm256_add_epi16(w, chain);
  return steps * kChains * kLanes * 4 * 2 + _mm256_cvtsi256_si32(w);
}

constexpr Gemm kGemm = {"int8-avx2", kRows, row_bytes, panel_bytes, pack, unpack, multiply, peak};

}  // namespace

extern const Gemm* const kBytesAvx2 = &kGemm;

}  // namespace native

// float32 products with any kind of weight, for the instruction set that the including unit is compiled for. The unit
// defines NATIVE_LANES, the floats in a vector, and calls float_gemm for its table.
//
// A panel is two groups one after the other, each [columns][16] floats. A tile of activations is [columns][count]
// floats.
#pragma once

#include <array>
#include <cstring>
#include <utility>

#include "epilogue.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace native {
namespace {

constexpr int kLanes = NATIVE_LANES;
constexpr int kVectors = kGroup / kLanes;  // vectors in a group
typedef float Vector __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t Whole __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

// Rows of a tile: as many as possible while registers are left for one step's weights and a broadcast.
constexpr int kRows = kLanes == 16 ? 12 : kLanes == 8 ? 6 : NATIVE_NARROW_ROWS;
// Groups that are multiplied together.
constexpr int kGroups = kLanes == 16 ? 2 : 1;

inline Vector load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
inline void store(float* p, Vector v) { *reinterpret_cast<Vector*>(p) = v; }

template <int Rows>
void multiply_tile(const float* const* panel, const float* a, int64_t columns, float* c) {
  Vector sum[Rows][kGroups * kVectors] = {};
  for (int64_t k = 0; k < columns; k++) {
    Vector w[kGroups * kVectors];
    for (int g = 0; g < kGroups; g++) {
      for (int v = 0; v < kVectors; v++) w[g * kVectors + v] = load(panel[g] + k * kGroup + v * kLanes);
    }
    for (int r = 0; r < Rows; r++) {
      const Vector x = a[k * Rows + r] - Vector{};
      for (int v = 0; v < kGroups * kVectors; v++) sum[r][v] += w[v] * x;
    }
  }
  for (int r = 0; r < Rows; r++) {
    for (int v = 0; v < kGroups * kVectors; v++) store(c + r * kStrip + v * kLanes, sum[r][v]);
  }
}

using TileFunction = void (*)(const float* const*, const float*, int64_t, float*);
template <int... Rows>
constexpr std::array<TileFunction, kRows> tile_functions(std::integer_sequence<int, Rows...>) {
  return {multiply_tile<Rows + 1>...};
}
constexpr auto kTiles = tile_functions(std::make_integer_sequence<int, kRows>());  // of 1, 2, ... rows

void multiply(Kind, const Strip& strip, int64_t columns, const void* packed, int32_t count, const Output& output, Ahead) {
  const float* a = static_cast<const float*>(packed);
  const float* const panel[2] = {static_cast<const float*>(strip.values[0]), static_cast<const float*>(strip.values[1])};
  multiply_rows<kRows>(count, output, [&](int32_t first, int32_t rows, float* c) {
    for (int g = 0; g < 2; g += kGroups) {
      kTiles[rows - 1](panel + g, a + first * columns, columns, c + g * kGroup);
    }
  });
}

uint64_t pack(Kind, const float* const* rows, int32_t count, int64_t columns, void* tile) {
  float* out = static_cast<float*>(tile);
  for (int32_t r = 0; r < count; r++) {
    const float* x = rows[r];
    for (int64_t k = 0; k < columns; k++) out[k * count + r] = x[k];
  }
  return 0;
}

// Twice the value of each E2M1 number, from its four bits in 32-bit lanes.
inline Vector twice_e2m1(Whole bits) {
#if defined(__AVX512F__)
  const __m512 table = _mm512_setr_ps(0, 1, 2, 3, 4, 6, 8, 12, -0.0f, -1, -2, -3, -4, -6, -8, -12);
  return (Vector)_mm512_permutexvar_ps((__m512i)bits, table);
#elif defined(__AVX2__)
  const __m256 table = _mm256_setr_ps(0, 1, 2, 3, 4, 6, 8, 12);
  const __m256 sign = _mm256_castsi256_ps(_mm256_slli_epi32((__m256i)(bits & 8), 28));
  return (Vector)_mm256_xor_ps(_mm256_permutevar8x32_ps(table, (__m256i)bits), sign);
#else
  const Whole m = bits & 7;
  const Whole above = m - 4;
  const Whole value = m + (above & ~(above >> 31)) + ((m == 7) & 2);
  const Vector magnitude = __builtin_convertvector(value, Vector);
  return (Vector)((Whole)magnitude | (Whole)((bits & 8) << 28));
#endif
}

void unpack_mxfp4(const uint8_t* group, int64_t columns, float* panel) {
  const int64_t blocks = columns / kBlock;
  const uint8_t* scales = group + blocks * 256;
  for (int64_t b = 0; b < blocks; b++) {
    float scale[kGroup];  // of twice the value
    for (int r = 0; r < kGroup; r++) {
      const int32_t exponent = scales[b * kGroup + r];
      const int32_t bits = (exponent < 2 ? 1 : exponent - 1) << 23;
      std::memcpy(&scale[r], &bits, 4);
    }
    for (int j = 0; j < 4; j++) {
      for (int v = 0; v < kVectors; v++) {
        Whole bytes;
        std::memcpy(&bytes, group + b * 256 + j * 64 + v * kLanes * 4, sizeof bytes);
        const Vector by = load(scale + v * kLanes);
        float* out = panel + (b * kBlock + 8 * j) * kGroup + v * kLanes;
        for (int o = 0; o < 4; o++) {
          store(out + o * kGroup, twice_e2m1((bytes >> (8 * o)) & 15) * by);
          store(out + (4 + o) * kGroup, twice_e2m1((bytes >> (8 * o + 4)) & 15) * by);
        }
      }
    }
  }
}

void unpack_bf16(const uint8_t* group, int64_t columns, float* panel) {
  for (int64_t pair = 0; pair < columns / 2; pair++) {
    for (int v = 0; v < kVectors; v++) {
      Whole both;
      std::memcpy(&both, group + pair * 64 + v * kLanes * 4, sizeof both);
      store(panel + 2 * pair * kGroup + v * kLanes, (Vector)(both << 16));
      store(panel + (2 * pair + 1) * kGroup + v * kLanes, (Vector)(both & ~0xffff));
    }
  }
}

void unpack_int8(const uint8_t* group, int64_t columns, float* panel) {
  const int64_t blocks = columns / kBlock;
  const uint8_t* scales = group + blocks * 512;
  for (int64_t b = 0; b < blocks; b++) {
    float scale[kGroup];
    for (int r = 0; r < kGroup; r++) {
      uint16_t half;
      std::memcpy(&half, scales + (b * kGroup + r) * 2, 2);
      const uint32_t bits = static_cast<uint32_t>(half) << 16;
      std::memcpy(&scale[r], &bits, 4);
    }
    for (int j = 0; j < 8; j++) {
      for (int v = 0; v < kVectors; v++) {
        Whole bytes;
        std::memcpy(&bytes, group + b * 512 + j * 64 + v * kLanes * 4, sizeof bytes);
        const Vector by = load(scale + v * kLanes);
        for (int o = 0; o < 4; o++) {
          const Whole value = ((bytes >> (8 * o)) & 255) - 128;
          store(panel + (b * kBlock + 4 * j + o) * kGroup + v * kLanes, __builtin_convertvector(value, Vector) * by);
        }
      }
    }
  }
}

Strip unpack(Kind kind, const uint8_t* const* groups, int64_t columns, void* panel) {
  float* half[2] = {static_cast<float*>(panel), static_cast<float*>(panel) + columns * kGroup};
  for (int g = 0; g < 2; g++) {
    switch (kind) {
      case Kind::kMxfp4: unpack_mxfp4(groups[g], columns, half[g]); break;
      case Kind::kBf16: unpack_bf16(groups[g], columns, half[g]); break;
      case Kind::kInt8: unpack_int8(groups[g], columns, half[g]); break;
      case Kind::kInt4: break;  // only used by decode
    }
  }
  return {{half[0], half[1]}, {nullptr, nullptr}};
}

size_t row_bytes(Kind, int64_t columns) { return static_cast<size_t>(columns) * sizeof(float); }
size_t panel_bytes(Kind, int64_t columns) { return static_cast<size_t>(columns) * kStrip * sizeof(float); }

int64_t peak(int64_t steps) {
  constexpr int kChains = 12;
  volatile float unknown = 0.0f;
  const Vector w = unknown - Vector{};
  Vector sum[kChains];
  for (auto& chain : sum) chain = w;
  for (int64_t i = 0; i < steps; i++) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; c++) sum[c] += w * sum[c];
  }
  for (int c = 1; c < kChains; c++) sum[0] += sum[c];
  return steps * kChains * kLanes * 2 + static_cast<int64_t>(sum[0][0]);
}

constexpr Gemm float_gemm(const char* name) {
  return {name, kRows, kAnyCount, row_bytes, panel_bytes, pack, unpack, multiply, peak};
}

}  // namespace
}  // namespace native

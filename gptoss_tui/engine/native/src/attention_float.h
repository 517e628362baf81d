// Attention in float32, for the instruction set that the including unit is compiled for, which defines NATIVE_LANES.
#pragma once

#include "attention.h"

namespace native {
namespace {

constexpr int kLanes = NATIVE_LANES;
constexpr int kVectors = kGroup / kLanes;
typedef float Vector __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

struct FloatArithmetic {
  using Number = float;
  static constexpr int kRows = kLanes == 16 ? 12 : kLanes == 8 ? 6 : NATIVE_NARROW_ROWS;
  static constexpr int kGroups = kLanes == 16 ? 2 : 1;  // that are multiplied together

  static void round(const float* x, int32_t count, float* to) { std::memcpy(to, x, static_cast<size_t>(count) * 4); }

  static float number(const void* rows, bool wide, int64_t at) {
    float value;
    if (wide) {
      std::memcpy(&value, static_cast<const float*>(rows) + at, 4);
    } else {
      const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(rows)[at]) << 16;
      std::memcpy(&value, &bits, 4);
    }
    return value;
  }

  static void key_panel(const void* rows, bool wide, int32_t count, int32_t dim, float* to) {
    if (count < kKeys) std::memset(to, 0, static_cast<size_t>(kKeys * dim) * sizeof(float));
    for (int32_t k = 0; k < count; k++) {
      float* out = to + k / kGroup * kGroup * dim + k % kGroup;
      for (int32_t d = 0; d < dim; d++) out[d * kGroup] = number(rows, wide, static_cast<int64_t>(k) * dim + d);
    }
  }

  static void value_panel(const void* rows, bool wide, int32_t count, int32_t dim, float* to) {
    if (count < kKeys) std::memset(to, 0, static_cast<size_t>(kKeys * dim) * sizeof(float));
    for (int32_t k = 0; k < count; k++) {
      for (int32_t d = 0; d < dim; d += kGroup) {
        float* out = to + d * kKeys + k * kGroup;
        for (int i = 0; i < kGroup; i++) out[i] = number(rows, wide, static_cast<int64_t>(k) * dim + d + i);
      }
    }
  }

  template <int Rows>
  static void tile(const float* a, int a_stride, const float* const* panel, int depth, float* c, int c_stride,
                   const float* shrink) {
    Vector sum[Rows][kGroups * kVectors] = {};
    for (int k = 0; k < depth; k++) {
      Vector w[kGroups * kVectors];
      for (int v = 0; v < kGroups * kVectors; v++) {
        w[v] = *reinterpret_cast<const Vector*>(panel[v / kVectors] + k * kGroup + v % kVectors * kLanes);
      }
      for (int r = 0; r < Rows; r++) {
        const Vector x = a[r * a_stride + k] - Vector{};
        for (int v = 0; v < kGroups * kVectors; v++) sum[r][v] += w[v] * x;
      }
    }
    for (int r = 0; r < Rows; r++) {
      for (int v = 0; v < kGroups * kVectors; v++) {
        auto* out = reinterpret_cast<Vector*>(c + r * c_stride + v * kLanes);
        *out = shrink == nullptr ? sum[r][v] : sum[r][v] + *out * shrink[r];
      }
    }
  }

  using TileFunction = void (*)(const float*, int, const float* const*, int, float*, int, const float*);
  template <int... Rows>
  static constexpr std::array<TileFunction, kRows> tiles(std::integer_sequence<int, Rows...>) {
    return {tile<Rows + 1>...};
  }

  static void multiply(int32_t rows, const float* a, int a_stride, const float* panel, int depth, float* c, int c_stride,
                       const float* shrink) {
    static constexpr auto kTiles = tiles(std::make_integer_sequence<int, kRows>());
    for (int g = 0; g < 2; g += kGroups) {
      const float* const groups[2] = {panel + g * kGroup * depth, panel + kGroup * depth};
      kTiles[static_cast<size_t>(rows) - 1](a, a_stride, groups, depth, c + g * kGroup, c_stride, shrink);
    }
  }
};

constexpr Attention float_attention() { return {sizeof(TileMemory<FloatArithmetic>), attend_tile<FloatArithmetic>}; }

}  // namespace
}  // namespace native

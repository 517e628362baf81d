// Code shared by the byte products on x86: int8 activations in groups of 32 columns with a float scale, and panels of
// MXFP4 that are unpacked by a strip's first tile while it multiplies. Unpacking uses other execution units than the
// products, so it costs next to nothing there.
#pragma once

#include "epilogue.h"

namespace native {
namespace {

constexpr int kRows = 6;    // tokens of a tile
constexpr int kWords = 10;  // 4-byte words that a block of a token's activations takes
// The scales of activations and, as exponents, of weights are kept this far from the limits of a float. Scales below
// 2 ** -60 are rounded up to it.
constexpr int kMostExponent = 60;
constexpr float kLeastScale = 0x1p-60f;

// Twice the value + 12 of each E2M1 number.
constexpr int kOffset = 12;
alignas(16) constexpr uint8_t kTwiceE2m1[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

inline size_t row_bytes(Kind, int64_t columns) { return static_cast<size_t>(columns / kBlock) * kWords * 4; }

// The panel of a strip of MXFP4: for each group the bytes [blocks][8][16][4], and exponents [blocks][16] in the form of
// bits that are added to a float to multiply it.
struct Panel {
  uint8_t* values[2];
  int32_t* exponents[2];
};
inline Panel panel_at(void* memory, int64_t blocks) {
  auto* exponents = static_cast<int32_t*>(memory);
  auto* values = reinterpret_cast<uint8_t*>(exponents + 2 * blocks * kGroup);
  return {{values, values + blocks * 512}, {exponents, exponents + blocks * kGroup}};
}
constexpr size_t panel_size(int64_t blocks) { return 2 * static_cast<size_t>(blocks) * (512 + kGroup * sizeof(int32_t)); }

}  // namespace
}  // namespace native

// What products in bytes share on x86: int8 activations in groups of 32 columns with a float scale, and panels of MXFP4 that
// the first tile of a strip unpacks on its way. That takes other units than products, so it costs next to nothing there.
#pragma once

#include "epilogue.h"

namespace native {
namespace {

constexpr int kRows = 6;    // tokens of a tile
constexpr int kWords = 10;  // of 4 bytes, that a block of a token's activations takes
// Scales of activations and, as exponents, of weights stay this far from what a float holds. What is smaller than
// 2 ** -60 counts as if it were that.
constexpr int kMostExponent = 60;
constexpr float kLeastScale = 0x1p-60f;

// Twice the value + 12 of each E2M1 number.
constexpr int kOffset = 12;
alignas(16) constexpr uint8_t kTwiceE2m1[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

inline size_t row_bytes(Kind, int64_t columns) { return static_cast<size_t>(columns / kBlock) * kWords * 4; }

// The panel of a strip of MXFP4: of each group the bytes [blocks][8][16][4], and [blocks][16] exponents, as the bits that are
// to be added to a float to multiply it.
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

// Code shared by ARM's byte products: weights and activations are int8, activations in groups of 32 columns that share
// a float scale. 32 products are summed exactly; their sum times both scales is added up in float32.
//
// `Layout` is the form that a kind of instruction needs: where eight bytes of a token go in a tile and where weights go
// in a panel, and the product itself. A panel has, for each group, 512 bytes per block (for MXFP4, twice the value) and
// floats [blocks][16] that turn them into weights. A tile of activations is [blocks] of: bytes [count][32] in the order
// of the layout, scale [count].
#pragma once

#include <arm_neon.h>

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "epilogue.h"

namespace native {
namespace {

constexpr int kRows = 4;           // tokens of a tile
constexpr int kOctets = kBlock / 8;  // of a token's block

using TileFunction = void (*)(const Strip&, const int8_t*, int64_t, float*, Ahead&, int);

template <class Layout, int... Rows>
constexpr std::array<TileFunction, kRows> tile_functions(std::integer_sequence<int, Rows...>) {
  return {Layout::template multiply<Rows + 1>...};
}

inline size_t row_bytes(Kind, int64_t columns) {
  return static_cast<size_t>(columns / kBlock) * (kBlock + sizeof(float));
}

template <class Layout>
void multiply_bytes(Kind kind, const Strip& strip, int64_t columns, const void* packed, int32_t count,
                    const Output& output, Ahead ahead) {
  static constexpr auto kTiles = tile_functions<Layout>(std::make_integer_sequence<int, kRows>());
  const int64_t blocks = columns / kBlock;
  const int lines = lines_of(ahead, tile_count(count, kRows) * blocks);
  multiply_rows<kRows>(count, output, [&](int32_t first, int32_t rows, float* c) {
    const auto* a = static_cast<const int8_t*>(packed) + static_cast<size_t>(first) * row_bytes(kind, columns);
    kTiles[static_cast<size_t>(rows - 1)](strip, a, blocks, c, ahead, lines);
  });
}

template <class Layout>
uint64_t pack_bytes(Kind, const float* const* rows, int32_t count, int64_t columns, void* tile) {
  auto* out = static_cast<int8_t*>(tile);
  uint64_t lost = 0;
  for (int64_t b = 0; b < columns / kBlock; b++, out += count * (kBlock + static_cast<int32_t>(sizeof(float)))) {
    for (int32_t r = 0; r < count; r++) {
      const float* x = rows[r] + b * kBlock;
      float32x4_t most = vabsq_f32(vld1q_f32(x));
      for (int i = 4; i < kBlock; i += 4) most = vmaxq_f32(most, vabsq_f32(vld1q_f32(x + i)));
      const float scale = at_least(vmaxvq_f32(most) / 127.0f, 0x1p-60f), inverse = 1.0f / scale;
      if (!(scale < INFINITY)) lost |= uint64_t{1} << r;
      for (int i = 0; i < kOctets; i++) {
        const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 8 * i), inverse));
        const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 8 * i + 4), inverse));
        vst1_s8(out + Layout::octet(r, count, i), vqmovn_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high))));
      }
      std::memcpy(out + count * kBlock + r * static_cast<int32_t>(sizeof(float)), &scale, sizeof scale);
    }
  }
  return lost;
}

// Eight columns of four rows come as two vectors, columns 0 .. 3 and 4 .. 7: of rows 4 * quad and on of the block.
template <class Layout>
void unpack_mxfp4(const uint8_t* group, int64_t blocks, int8_t* values, float* scales) {
  static const int8_t twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const int8x16_t table = vld1q_s8(twice);
  for (int64_t i = 0; i < blocks * kOctets; i++) {
    for (int quad = 0; quad < 4; quad++) {
      const uint8x16_t both = vld1q_u8(group + i * 64 + quad * 16);
      Layout::place(values + i * 128, quad, vqtbl1q_s8(table, vandq_u8(both, vdupq_n_u8(15))),
                    vqtbl1q_s8(table, vshrq_n_u8(both, 4)));
    }
  }
  const uint8_t* exponents = group + blocks * 256;
  for (int64_t i = 0; i < blocks * kGroup; i++) {
    const uint32_t bits = static_cast<uint32_t>(exponents[i] < 2 ? 1 : exponents[i] - 1) << 23;  // of twice the value
    std::memcpy(scales + i, &bits, sizeof bits);
  }
}

template <class Layout>
void unpack_int8(const uint8_t* group, int64_t blocks, int8_t* values, float* scales) {
  const auto number = [group](int64_t at) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(group + at), vdupq_n_u8(128)));
  };
  for (int64_t i = 0; i < blocks * kOctets; i++) {
    for (int quad = 0; quad < 4; quad++) {
      const int64_t at = i * 128 + quad * 16;
      Layout::place(values + i * 128, quad, number(at), number(at + 64));
    }
  }
  const uint8_t* halves = group + blocks * 512;
  for (int64_t i = 0; i < blocks * kGroup; i++) {
    uint16_t half;
    std::memcpy(&half, halves + i * 2, sizeof half);
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    std::memcpy(scales + i, &bits, sizeof bits);
  }
}

inline size_t panel_bytes(Kind, int64_t columns) {
  return 2 * static_cast<size_t>(columns / kBlock) * (512 + kGroup * sizeof(float));
}

template <class Layout>
Strip unpack_bytes(Kind kind, const uint8_t* const* groups, int64_t columns, void* panel) {
  const int64_t blocks = columns / kBlock;
  Strip strip;
  float* scales = static_cast<float*>(panel);
  auto* values = static_cast<int8_t*>(panel) + 2 * blocks * kGroup * static_cast<int64_t>(sizeof(float));
  for (int g = 0; g < 2; g++, scales += blocks * kGroup, values += blocks * 512) {
    (kind == Kind::kMxfp4 ? unpack_mxfp4<Layout> : unpack_int8<Layout>)(groups[g], blocks, values, scales);
    strip.values[g] = values;
    strip.scales[g] = scales;
  }
  return strip;
}

template <class Layout>
int64_t peak_of_bytes(int64_t steps) {
  constexpr int kChains = 16;
  volatile int8_t unknown = 0;
  const int8x16_t w = vdupq_n_s8(unknown);
  int32x4_t sum[kChains];
  for (auto& chain : sum) chain = vdupq_n_s32(0);
  for (int64_t i = 0; i < steps; i++) {
#pragma GCC unroll 16
    for (auto& chain : sum) chain = Layout::product(chain, w, vreinterpretq_s8_s32(chain));
  }
  for (int c = 1; c < kChains; c++) sum[0] = vaddq_s32(sum[0], sum[c]);
  return steps * kChains * Layout::kOperations + vgetq_lane_s32(sum[0], 0);
}

template <class Layout>
constexpr Gemm gemm_of_bytes(const char* name) {
  return {name, kRows, kAnyCount, row_bytes, panel_bytes, pack_bytes<Layout>, unpack_bytes<Layout>, multiply_bytes<Layout>,
          peak_of_bytes<Layout>};
}

}  // namespace
}  // namespace native

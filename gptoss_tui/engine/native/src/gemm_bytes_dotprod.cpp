// Products in bytes with ARM's dot products: weights and activations as int8, activations in groups of 32 columns that
// share a float scale. 32 products are summed exactly; their sum times both scales is added up in float32.
//
// A panel is, for each group, its bytes [blocks][8][16][4], twice the value for MXFP4, and floats [blocks][16] that turn
// them into weights. A tile of activations is [blocks] of: bytes [count][32], scale [count].
#include <arm_neon.h>

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "epilogue.h"

namespace native {
namespace {

constexpr int kRows = 4;
constexpr int kQuads = kGroup / 4;  // of rows, as many as a register has lanes

// Columns 4 * Lane and on of 16 in `x`, times those of 16 rows at `w`.
template <int Rows, int Lane>
inline void add_columns(int32x4_t (&sum)[Rows][kQuads], const int8_t* w, const int8x16_t (&x)[Rows]) {
  for (int v = 0; v < kQuads; v++) {
    const int8x16_t four = vld1q_s8(w + v * 16);
    for (int r = 0; r < Rows; r++) sum[r][v] = vdotq_laneq_s32(sum[r][v], four, x[r], Lane);
  }
}

template <int Rows>
void multiply_tile(const Strip& strip, const int8_t* a, int64_t blocks, float* c, Ahead& ahead, int lines) {
  float32x4_t total[2][Rows][kQuads];
  for (auto& group : total) {
    for (auto& row : group) {
      for (auto& quad : row) quad = vdupq_n_f32(0);
    }
  }
  for (int64_t b = 0; b < blocks; b++, a += Rows * (kBlock + sizeof(float))) {
    fetch(ahead, lines);
    float by[Rows];
    std::memcpy(by, a + Rows * kBlock, sizeof by);
    for (int g = 0; g < 2; g++) {
      const int8_t* w = static_cast<const int8_t*>(strip.values[g]) + b * 512;
      int32x4_t sum[Rows][kQuads];
      for (auto& row : sum) {
        for (auto& quad : row) quad = vdupq_n_s32(0);
      }
      for (int half = 0; half < 2; half++, w += 256) {
        int8x16_t x[Rows];
        for (int r = 0; r < Rows; r++) x[r] = vld1q_s8(a + r * kBlock + half * 16);
        add_columns<Rows, 0>(sum, w, x);
        add_columns<Rows, 1>(sum, w + 64, x);
        add_columns<Rows, 2>(sum, w + 128, x);
        add_columns<Rows, 3>(sum, w + 192, x);
      }
      for (int v = 0; v < kQuads; v++) {
        const float32x4_t scale = vld1q_f32(strip.scales[g] + b * kGroup + v * 4);
        for (int r = 0; r < Rows; r++) {
          total[g][r][v] = vfmaq_f32(total[g][r][v], vcvtq_f32_s32(sum[r][v]), vmulq_n_f32(scale, by[r]));
        }
      }
    }
  }
  for (int g = 0; g < 2; g++) {
    for (int r = 0; r < Rows; r++) {
      for (int v = 0; v < kQuads; v++) vst1q_f32(c + r * kStrip + g * kGroup + v * 4, total[g][r][v]);
    }
  }
}

using TileFunction = void (*)(const Strip&, const int8_t*, int64_t, float*, Ahead&, int);
template <int... Rows>
constexpr std::array<TileFunction, kRows> tile_functions(std::integer_sequence<int, Rows...>) {
  return {multiply_tile<Rows + 1>...};
}
constexpr auto kTiles = tile_functions(std::make_integer_sequence<int, kRows>());

size_t row_bytes(Kind, int64_t columns) { return static_cast<size_t>(columns / kBlock) * (kBlock + sizeof(float)); }

void multiply(Kind kind, const Strip& strip, int64_t columns, const void* packed, int32_t count, const Output& output,
              Ahead ahead) {
  const int64_t blocks = columns / kBlock;
  const int lines = lines_of(ahead, tile_count(count, kRows) * blocks);
  multiply_rows<kRows>(count, output, [&](int32_t first, int32_t rows, float* c) {
    const auto* a = static_cast<const int8_t*>(packed) + static_cast<size_t>(first) * row_bytes(kind, columns);
    kTiles[rows - 1](strip, a, blocks, c, ahead, lines);
  });
}

uint64_t pack(Kind, const float* const* rows, int32_t count, int64_t columns, void* tile) {
  auto* out = static_cast<int8_t*>(tile);
  uint64_t lost = 0;
  for (int64_t b = 0; b < columns / kBlock; b++, out += count * (kBlock + sizeof(float))) {
    for (int32_t r = 0; r < count; r++) {
      const float* x = rows[r] + b * kBlock;
      float32x4_t most = vabsq_f32(vld1q_f32(x));
      for (int i = 4; i < kBlock; i += 4) most = vmaxq_f32(most, vabsq_f32(vld1q_f32(x + i)));
      const float scale = at_least(vmaxvq_f32(most) / 127.0f, 0x1p-60f), inverse = 1.0f / scale;
      if (!(scale < INFINITY)) lost |= uint64_t{1} << r;
      for (int i = 0; i < kBlock; i += 8) {
        const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i), inverse));
        const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4), inverse));
        vst1_s8(out + r * kBlock + i, vqmovn_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high))));
      }
      std::memcpy(out + count * kBlock + r * static_cast<int32_t>(sizeof(float)), &scale, sizeof scale);
    }
  }
  return lost;
}

void unpack_mxfp4(const uint8_t* group, int64_t blocks, int8_t* values, float* scales) {
  static const int8_t twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const int8x16_t table = vld1q_s8(twice);
  for (int64_t i = 0; i < blocks * 4; i++) {
    for (int v = 0; v < 4; v++) {
      const uint8x16_t both = vld1q_u8(group + i * 64 + v * 16);
      vst1q_s8(values + i * 128 + v * 16, vqtbl1q_s8(table, vandq_u8(both, vdupq_n_u8(15))));
      vst1q_s8(values + i * 128 + 64 + v * 16, vqtbl1q_s8(table, vshrq_n_u8(both, 4)));
    }
  }
  const uint8_t* exponents = group + blocks * 256;
  for (int64_t i = 0; i < blocks * kGroup; i++) {
    const uint32_t bits = static_cast<uint32_t>(exponents[i] < 2 ? 1 : exponents[i] - 1) << 23;  // of twice the value
    std::memcpy(scales + i, &bits, sizeof bits);
  }
}

void unpack_int8(const uint8_t* group, int64_t blocks, int8_t* values, float* scales) {
  for (int64_t i = 0; i < blocks * 512; i += 16) {
    vst1q_s8(values + i, vreinterpretq_s8_u8(veorq_u8(vld1q_u8(group + i), vdupq_n_u8(128))));
  }
  const uint8_t* halves = group + blocks * 512;
  for (int64_t i = 0; i < blocks * kGroup; i++) {
    uint16_t half;
    std::memcpy(&half, halves + i * 2, sizeof half);
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    std::memcpy(scales + i, &bits, sizeof bits);
  }
}

size_t panel_bytes(Kind, int64_t columns) {
  return 2 * static_cast<size_t>(columns / kBlock) * (512 + kGroup * sizeof(float));
}

Strip unpack(Kind kind, const uint8_t* const* groups, int64_t columns, void* panel) {
  const int64_t blocks = columns / kBlock;
  Strip strip;
  float* scales = static_cast<float*>(panel);
  auto* values = static_cast<int8_t*>(panel) + 2 * blocks * kGroup * static_cast<int64_t>(sizeof(float));
  for (int g = 0; g < 2; g++, scales += blocks * kGroup, values += blocks * 512) {
    (kind == Kind::kMxfp4 ? unpack_mxfp4 : unpack_int8)(groups[g], blocks, values, scales);
    strip.values[g] = values;
    strip.scales[g] = scales;
  }
  return strip;
}

int64_t peak(int64_t steps) {
  constexpr int kChains = 16;
  volatile int8_t unknown = 0;
  const int8x16_t w = vdupq_n_s8(unknown);
  int32x4_t sum[kChains];
  for (auto& chain : sum) chain = vdupq_n_s32(0);
  for (int64_t i = 0; i < steps; i++) {
#pragma GCC unroll 16
    for (auto& chain : sum) chain = vdotq_s32(chain, w, vreinterpretq_s8_s32(chain));
  }
  for (int c = 1; c < kChains; c++) sum[0] = vaddq_s32(sum[0], sum[c]);
  return steps * kChains * 4 * 8 + vgetq_lane_s32(sum[0], 0);
}

constexpr Gemm kGemm = {"int8-neon", kRows, row_bytes, panel_bytes, pack, unpack, multiply, peak};

}  // namespace

extern const Gemm* const kBytesDotprod = &kGemm;

}  // namespace native

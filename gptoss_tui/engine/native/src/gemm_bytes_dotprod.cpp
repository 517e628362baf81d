// Byte products with ARM's dot products: four columns of four rows of weights times four columns of a token.
#include "bytes_arm.h"

namespace native {
namespace {

constexpr int kQuads = kGroup / 4;  // groups of four rows, as many as a register has lanes

// The bytes of a block of weights are [8][16 rows][4], those of a token in their natural order.
struct Dots {
  static constexpr int64_t kOperations = 4 * 8;  // of one instruction

  static int32x4_t product(int32x4_t sum, int8x16_t a, int8x16_t b) { return vdotq_s32(sum, a, b); }

  static int32_t octet(int32_t row, int32_t, int32_t i) { return row * kBlock + i * 8; }

  static void place(int8_t* values, int quad, int8x16_t low, int8x16_t high) {
    vst1q_s8(values + quad * 16, low);
    vst1q_s8(values + 64 + quad * 16, high);
  }

  // Columns 4 * Lane and on of 16 in `x`, times those of 16 rows at `w`.
  template <int Rows, int Lane>
  static void add_columns(int32x4_t (&sum)[Rows][kQuads], const int8_t* w, const int8x16_t (&x)[Rows]) {
    for (int v = 0; v < kQuads; v++) {
      const int8x16_t four = vld1q_s8(w + v * 16);
      for (int r = 0; r < Rows; r++) sum[r][v] = vdotq_laneq_s32(sum[r][v], four, x[r], Lane);
    }
  }

  template <int Rows>
  static void multiply(const Strip& strip, const int8_t* a, int64_t blocks, float* c, Ahead& ahead, int lines) {
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
};

constexpr Gemm kGemm = gemm_of_bytes<Dots>("int8-neon");

}  // namespace

extern const Gemm* const kBytesDotprod = &kGemm;

}  // namespace native

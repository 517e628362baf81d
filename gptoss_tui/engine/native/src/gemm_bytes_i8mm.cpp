// Byte products with ARM's products of small matrices: eight columns of two tokens times those of two rows of weights,
// twice as many products per instruction as a dot product.
#include "bytes_arm.h"

namespace native {
namespace {

constexpr int kRowPairs = kGroup / 2;

// The bytes of a block of weights are [4][8 pairs of rows][2][8], those of a pair of tokens [4][2][8]; the last one of
// an odd number of tokens is in its natural order.
struct Pairs {
  static constexpr int64_t kOperations = 4 * 16;  // of one instruction

  static int32x4_t product(int32x4_t sum, int8x16_t a, int8x16_t b) { return vmmlaq_s32(sum, a, b); }

  static int32_t octet(int32_t row, int32_t count, int32_t i) {
    const bool alone = row == count - 1 && row % 2 == 0;
    return alone ? row * kBlock + i * 8 : row / 2 * 2 * kBlock + i * 16 + row % 2 * 8;
  }

  static void place(int8_t* values, int quad, int8x16_t low, int8x16_t high) {
    const int32x4_t first = vreinterpretq_s32_s8(low), second = vreinterpretq_s32_s8(high);
    vst1q_s8(values + quad * 32, vreinterpretq_s8_s32(vzip1q_s32(first, second)));
    vst1q_s8(values + quad * 32 + 16, vreinterpretq_s8_s32(vzip2q_s32(first, second)));
  }

  // The columns from 8 * i on of pair `p` of Rows tokens; zeros take the place of a missing second token.
  template <int Rows>
  static int8x16_t tokens(const int8_t* a, int p, int i) {
    if (2 * p + 1 < Rows) return vld1q_s8(a + p * 2 * kBlock + i * 16);
    return vcombine_s8(vld1_s8(a + p * 2 * kBlock + i * 8), vdup_n_s8(0));
  }

  template <int Rows>
  static void multiply(const Strip& strip, const int8_t* a, int64_t blocks, float* c, Ahead& ahead, int lines) {
    constexpr int kPairs = (Rows + 1) / 2;
    // Lanes: rows 0 and 1 for the first token, then for the second one.
    float32x4_t total[2][kPairs][kRowPairs];
    for (auto& group : total) {
      for (auto& pair : group) {
        for (auto& rows : pair) rows = vdupq_n_f32(0);
      }
    }
    for (int64_t b = 0; b < blocks; b++, a += Rows * (kBlock + sizeof(float))) {
      fetch(ahead, lines);
      float by[2 * kPairs] = {};
      std::memcpy(by, a + Rows * kBlock, Rows * sizeof(float));
      for (int g = 0; g < 2; g++) {
        const int8_t* w = static_cast<const int8_t*>(strip.values[g]) + b * 512;
        int32x4_t sum[kPairs][kRowPairs];
        for (auto& pair : sum) {
          for (auto& rows : pair) rows = vdupq_n_s32(0);
        }
        for (int i = 0; i < kOctets; i++, w += 128) {
          int8x16_t x[kPairs];
          for (int p = 0; p < kPairs; p++) x[p] = tokens<Rows>(a, p, i);
          for (int v = 0; v < kRowPairs; v++) {
            const int8x16_t two = vld1q_s8(w + v * 16);
            for (int p = 0; p < kPairs; p++) sum[p][v] = product(sum[p][v], x[p], two);
          }
        }
        for (int v = 0; v < kRowPairs; v++) {
          const float32x2_t two = vld1_f32(strip.scales[g] + b * kGroup + v * 2);
          for (int p = 0; p < kPairs; p++) {
            const float32x4_t scale = vcombine_f32(vmul_n_f32(two, by[2 * p]), vmul_n_f32(two, by[2 * p + 1]));
            total[g][p][v] = vfmaq_f32(total[g][p][v], vcvtq_f32_s32(sum[p][v]), scale);
          }
        }
      }
    }
    for (int g = 0; g < 2; g++) {
      for (int v = 0; v < kRowPairs; v++) {
        for (int r = 0; r < Rows; r++) {
          const float32x4_t both = total[g][r / 2][v];
          vst1_f32(c + r * kStrip + g * kGroup + v * 2, r % 2 == 0 ? vget_low_f32(both) : vget_high_f32(both));
        }
      }
    }
  }
};

constexpr Gemm kGemm = gemm_of_bytes<Pairs>("int8-i8mm");

}  // namespace

extern const Gemm* const kBytesI8mm = &kGemm;

}  // namespace native

// Decode kernels for ARM with NEON and its products of bytes. A register is 4 rows; a group's 16 rows are four.
#define NATIVE_WIDTH 4
#include "generic.h"

#include <arm_neon.h>

namespace native {
namespace {

constexpr int64_t kAhead = 1024;  // how many bytes ahead to prefetch

// Four columns of activations in every lane.
NATIVE_INLINE int8x16_t four_bytes(const int8_t* from) {
  int32_t word;
  std::memcpy(&word, from, sizeof word);
  return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

// 2 ** (byte - 127) of four rows.
NATIVE_INLINE float32x4_t e8m0(const uint8_t* scales) {
  uint32_t word;
  std::memcpy(&word, scales, sizeof word);
  const uint16x4_t halves = vget_low_u16(vmovl_u8(vcreate_u8(word)));
  return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(halves), 23));
}

NATIVE_INLINE int8x16_t twice_fp4() {
  static const int8_t values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  return vld1q_s8(values);
}

NATIVE_INLINE int8x16_t twice_int4() {
  static const int8_t values[16] = {-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15};
  return vld1q_s8(values);
}

NATIVE_INLINE float32x4_t bf16_scales(const uint8_t* scales) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(reinterpret_cast<const uint16_t*>(scales)), 16));
}

// Column o (0..3) of four rows as float: byte o of each lane.
template <int O>
NATIVE_INLINE float32x4_t column(int8x16_t four) {
  const int32x4_t lanes = vreinterpretq_s32_s8(four);
  return vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(lanes, 24 - 8 * O), 24));
}
template <>
NATIVE_INLINE float32x4_t column<3>(int8x16_t four) {
  return vcvtq_f32_s32(vshrq_n_s32(vreinterpretq_s32_s8(four), 24));
}

NATIVE_INLINE float32x4_t columns_of(float32x4_t sum, int8x16_t four, const float* x) {
  sum = vfmaq_n_f32(sum, column<0>(four), x[0]);
  sum = vfmaq_n_f32(sum, column<1>(four), x[1]);
  sum = vfmaq_n_f32(sum, column<2>(four), x[2]);
  return vfmaq_n_f32(sum, column<3>(four), x[3]);
}

// Adds up `product(nibbles, b, scales, total)` of each group's blocks b: vectors of nibbles, and scales of its 16 rows.
template <Kind KIND, typename Block>
NATIVE_INLINE void nibble_groups(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, float* y, Block product) {
  const int64_t blocks = columns / kBlock, bytes = group_bytes(KIND, columns), size = KIND == Kind::kInt4 ? 2 : 1;
  for (int64_t g = begin; g < end; g++, y += kGroup) {
    const uint8_t* nibbles = w + g * bytes;
    const uint8_t* scales = nibbles + blocks * 256;
    float32x4_t total[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (int64_t b = 0; b < blocks; b++, nibbles += 256) product(nibbles, b, scales + b * kGroup * size, total);
    for (int r = 0; r < 4; r++) vst1q_f32(y + 4 * r, total[r]);
  }
}

void mxfp4(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  const int8x16_t lut = twice_fp4();
  const uint8x16_t low = vdupq_n_u8(15);
  const auto block = [&](const uint8_t* nibbles, int64_t b, const uint8_t* scales, float32x4_t* total) {
    float32x4_t part[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (int j = 0; j < 4; j++) {
      __builtin_prefetch(nibbles + j * 64 + kAhead);
      const float* values = x.values + b * kBlock + 8 * j;
      for (int r = 0; r < 4; r++) {
        const uint8x16_t q = vld1q_u8(nibbles + j * 64 + r * 16);
        part[r] = columns_of(part[r], vqtbl1q_s8(lut, vandq_u8(q, low)), values);
        part[r] = columns_of(part[r], vqtbl1q_s8(lut, vshrq_n_u8(q, 4)), values + 4);
      }
    }
    for (int r = 0; r < 4; r++) total[r] = vfmaq_f32(total[r], part[r], vmulq_n_f32(e8m0(scales + 4 * r), 0.5f));
  };
  nibble_groups<Kind::kMxfp4>(w, columns, begin, end, y, block);
}

// For MXFP4 and INT4.
template <Kind KIND>
void nibbles_int8(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  constexpr bool kLinear = KIND == Kind::kInt4;
  const int8x16_t lut = kLinear ? twice_int4() : twice_fp4();
  const uint8x16_t low = vdupq_n_u8(15);
  const auto block = [&](const uint8_t* nibbles, int64_t b, const uint8_t* scales, float32x4_t* total) {
    int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int j = 0; j < 4; j++) {
      __builtin_prefetch(nibbles + j * 64 + kAhead);
      const int8x16_t first = four_bytes(x.quantized + b * kBlock + 8 * j);
      const int8x16_t second = four_bytes(x.quantized + b * kBlock + 8 * j + 4);
      for (int r = 0; r < 4; r++) {
        const uint8x16_t q = vld1q_u8(nibbles + j * 64 + r * 16);
        sum[r] = vdotq_s32(sum[r], vqtbl1q_s8(lut, vandq_u8(q, low)), first);
        sum[r] = vdotq_s32(sum[r], vqtbl1q_s8(lut, vshrq_n_u8(q, 4)), second);
      }
    }
    for (int r = 0; r < 4; r++) {
      const float32x4_t size = kLinear ? bf16_scales(scales + 8 * r) : e8m0(scales + 4 * r);
      total[r] = vfmaq_f32(total[r], vcvtq_f32_s32(sum[r]), vmulq_n_f32(size, x.scale[b] * 0.5f));
    }
  };
  nibble_groups<KIND>(w, columns, begin, end, y, block);
}

void bf16(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  const int64_t bytes = group_bytes(Kind::kBf16, columns);
  const uint32x4_t high = vdupq_n_u32(0xffff0000u);
  for (int64_t g = begin; g < end; g++, y += kGroup) {
    const uint8_t* from = w + g * bytes;
    float32x4_t even[4], odd[4];
    for (int r = 0; r < 4; r++) even[r] = odd[r] = vdupq_n_f32(0);
    for (int64_t c = 0; c < columns; c += 2, from += 64) {
      __builtin_prefetch(from + kAhead);
      for (int r = 0; r < 4; r++) {
        const uint32x4_t pair = vreinterpretq_u32_u8(vld1q_u8(from + 16 * r));
        even[r] = vfmaq_n_f32(even[r], vreinterpretq_f32_u32(vshlq_n_u32(pair, 16)), x.values[c]);
        odd[r] = vfmaq_n_f32(odd[r], vreinterpretq_f32_u32(vandq_u32(pair, high)), x.values[c + 1]);
      }
    }
    for (int r = 0; r < 4; r++) vst1q_f32(y + 4 * r, vaddq_f32(even[r], odd[r]));
  }
}

void int8_int8(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  const int64_t blocks = columns / kBlock, bytes = group_bytes(Kind::kInt8, columns);
  const uint8x16_t bias = vdupq_n_u8(128);
  for (int64_t g = begin; g < end; g++, y += kGroup) {
    const uint8_t* values = w + g * bytes;
    const uint16_t* scales = reinterpret_cast<const uint16_t*>(values + blocks * 512);
    float32x4_t total[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (int64_t b = 0; b < blocks; b++, values += 512) {
      int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
      for (int j = 0; j < 8; j++) {
        __builtin_prefetch(values + j * 64 + kAhead);
        const int8x16_t four = four_bytes(x.quantized + b * kBlock + 4 * j);
        for (int r = 0; r < 4; r++) {
          const uint8x16_t weight = veorq_u8(vld1q_u8(values + j * 64 + r * 16), bias);
          sum[r] = vdotq_s32(sum[r], vreinterpretq_s8_u8(weight), four);
        }
      }
      for (int r = 0; r < 4; r++) {
        const uint32x4_t bits = vshll_n_u16(vld1_u16(scales + b * kGroup + 4 * r), 16);
        const float32x4_t scale = vmulq_n_f32(vreinterpretq_f32_u32(bits), x.scale[b]);
        total[r] = vfmaq_f32(total[r], vcvtq_f32_s32(sum[r]), scale);
      }
    }
    for (int r = 0; r < 4; r++) vst1q_f32(y + 4 * r, total[r]);
  }
}

constexpr Kernels kTable = table_of("neon", mxfp4, nibbles_int8<Kind::kMxfp4>, bf16, int8_int8, nibbles_int8<Kind::kInt4>);

}  // namespace

extern const Kernels* const kNeonKernels = &kTable;

}  // namespace native

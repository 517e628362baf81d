// The decode kernels for any machine: plain loops over the 16 rows of a group, which the compiler can vectorize.
#define NATIVE_WIDTH 4
#include "generic.h"

namespace native {
namespace {

constexpr float kFp4[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.f, -.5f, -1, -1.5f, -2, -3, -4, -6};
constexpr int8_t kTwiceFp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
constexpr int8_t kTwiceInt4[16] = {-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15};

float e8m0(uint8_t byte) {
  const uint32_t bits = static_cast<uint32_t>(byte) << 23;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Adds up `product(values, b, scale)` of each row's blocks b: its numbers, of `table`, and their scale.
template <Kind KIND, typename Number, typename Block>
void nibble_rows(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Number* table, float* y,
                Block product) {
  const int64_t blocks = columns / kBlock, bytes = group_bytes(KIND, columns);
  for (int64_t g = begin; g < end; g++, y += kGroup) {
    const uint8_t* nibbles = w + g * bytes;
    const uint8_t* scales = nibbles + blocks * 256;
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(scales);
    float total[kGroup] = {};
    for (int64_t b = 0; b < blocks; b++, nibbles += 256) {
      for (int r = 0; r < kGroup; r++) {
        Number values[kBlock];
        for (int i = 0; i < kBlock; i++) {
          const uint8_t byte = nibbles[i / 8 * 64 + r * 4 + i % 4];
          values[i] = table[i % 8 < 4 ? byte & 15 : byte >> 4];
        }
        const int64_t at = b * kGroup + r;
        total[r] += product(values, b, KIND == Kind::kInt4 ? from_bf16(halves[at]) : e8m0(scales[at]));
      }
    }
    std::memcpy(y, total, sizeof total);
  }
}

void mxfp4(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  nibble_rows<Kind::kMxfp4>(w, columns, begin, end, kFp4, y, [&](const float* values, int64_t b, float scale) {
    float part = 0;
    for (int i = 0; i < kBlock; i++) part += values[i] * x.values[b * kBlock + i];
    return part * scale;
  });
}

template <Kind KIND>
void nibbles_int8(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  nibble_rows<KIND>(w, columns, begin, end, KIND == Kind::kInt4 ? kTwiceInt4 : kTwiceFp4, y, [&](const int8_t* values, int64_t b, float scale) {
    int32_t part = 0;
    for (int i = 0; i < kBlock; i++) part += values[i] * x.quantized[b * kBlock + i];
    return static_cast<float>(part) * (scale * (x.scale[b] * 0.5f));
  });
}

void bf16(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  const int64_t bytes = group_bytes(Kind::kBf16, columns);
  for (int64_t g = begin; g < end; g++, y += kGroup) {
    const uint16_t* pairs = reinterpret_cast<const uint16_t*>(w + g * bytes);
    float total[kGroup] = {};
    for (int64_t c = 0; c < columns; c += 2, pairs += 2 * kGroup) {
      const float first = x.values[c], second = x.values[c + 1];
      for (int r = 0; r < kGroup; r++) {
        total[r] += from_bf16(pairs[2 * r]) * first + from_bf16(pairs[2 * r + 1]) * second;
      }
    }
    std::memcpy(y, total, sizeof total);
  }
}

void int8_int8(const uint8_t* w, int64_t columns, int64_t begin, int64_t end, const Activations& x, float* y) {
  const int64_t blocks = columns / kBlock, bytes = group_bytes(Kind::kInt8, columns);
  for (int64_t g = begin; g < end; g++, y += kGroup) {
    const uint8_t* values = w + g * bytes;
    const uint16_t* scales = reinterpret_cast<const uint16_t*>(values + blocks * 512);
    float total[kGroup] = {};
    for (int64_t b = 0; b < blocks; b++, values += 512) {
      for (int r = 0; r < kGroup; r++) {
        int32_t part = 0;
        for (int i = 0; i < 32; i++) {
          part += (values[i / 4 * 64 + r * 4 + i % 4] - 128) * x.quantized[b * kBlock + i];
        }
        total[r] += static_cast<float>(part) * (from_bf16(scales[b * kGroup + r]) * x.scale[b]);
      }
    }
    std::memcpy(y, total, sizeof total);
  }
}

constexpr Kernels kTable = table_of("scalar", mxfp4, nibbles_int8<Kind::kMxfp4>, bf16, int8_int8, nibbles_int8<Kind::kInt4>);

}  // namespace

extern const Kernels* const kScalarKernels = &kTable;

}  // namespace native

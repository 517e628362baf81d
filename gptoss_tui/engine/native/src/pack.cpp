// Packs the checkpoint's rows into the layouts of native.h.
#include <cmath>
#include <cstring>

#include "abi.h"
#include "kernels.h"

using native::kBlock;
using native::kGroup;
using native::Kind;
using native::round_up;

namespace {

// The row of the source that is stored at `row`; with `paired`, groups of gate rows and of linear rows alternate.
int64_t source_row(int64_t row, bool paired) {
  if (!paired) return row;
  const int64_t group = row / kGroup, within = row % kGroup;
  return 2 * (group / 2 * kGroup + within) + group % 2;
}

// The inverse of a scale, to multiply instead of dividing. A scale so small that this is infinite counts as 0: its
// values are below 1e-36.
float inverse_of(uint16_t scale) {
  const float inverse = 1.0f / native::from_bf16(scale);
  return std::isfinite(inverse) ? inverse : 0.0f;
}

// Quantizes one block of a row with the smallest bf16 scale that clips nothing, to the nearest values. A value that is
// infinite or NaN makes all of them so.
void quantize_block(const uint16_t* source, int64_t count, uint8_t* values, uint16_t* scale) {
  uint32_t most = 0;  // magnitudes are ordered as their bits are
  for (int64_t i = 0; i < count; i++) {
    const uint32_t magnitude = source[i] & 0x7fffu;
    if (magnitude > most) most = magnitude;
  }
  constexpr uint32_t kInfinity = 0x7f80;
  const float largest = native::from_bf16(static_cast<uint16_t>(most));
  uint16_t bits = most >= kInfinity ? 0x7fc0 : native::to_bf16(largest / 127.0f);
  if (native::from_bf16(bits) * 127.0f < largest) bits++;
  const float inverse = most < kInfinity ? inverse_of(bits) : 0.0f;
  *scale = bits;
  for (int64_t i = 0; i < kBlock; i++) {
    int value = 0;
    if (i < count && inverse > 0) value = static_cast<int>(std::lrintf(native::from_bf16(source[i]) * inverse));
    if (value > 127) value = 127;
    if (value < -127) value = -127;
    values[i / 4 * 64 + i % 4] = static_cast<uint8_t>(value + 128);
  }
}

// Quantizes the output of quantize_block for a block to four bits, with the smallest bf16 scale that reaches the
// outermost value, to the nearest of (n - 7.5) * scale. Adds the squared errors to `error`. Infinity and NaN carry
// over.
void coarsen_block(const uint8_t* values, uint16_t scale, int64_t lane, uint8_t* nibbles, uint16_t* coarse, double* error) {
  *coarse = scale;
  if (!std::isfinite(native::from_bf16(scale))) return;
  const auto value = [&](int i) {
    return static_cast<float>(values[i / 4 * 64 + i % 4] - 128) * native::from_bf16(scale);
  };
  float most = 0;
  for (int i = 0; i < kBlock; i++) most = std::fmax(most, std::fabs(value(i)));
  uint16_t bits = native::to_bf16(most / 7.5f);
  if (native::from_bf16(bits) * 7.5f < most) bits++;
  const float inverse = inverse_of(bits);
  *coarse = bits;
  for (int i = 0; i < kBlock; i++) {
    int n = static_cast<int>(std::floor(value(i) * inverse + 8.0f));
    n = n < 0 ? 0 : n > 15 ? 15 : n;
    const float left = value(i) - (static_cast<float>(n) - 7.5f) * native::from_bf16(bits);
    *error += static_cast<double>(left) * static_cast<double>(left);
    nibbles[i / 8 * 64 + lane * 4 + i % 4] |= static_cast<uint8_t>(n << (i % 8 < 4 ? 0 : 4));
  }
}

}  // namespace

int64_t gt_packed_bytes(int32_t kind, int64_t rows, int64_t columns) {
  return round_up(rows, kGroup) / kGroup * native::group_bytes(static_cast<Kind>(kind), columns);
}

void gt_pack_mxfp4(const uint8_t* blocks, const uint8_t* scales, int64_t rows, int64_t columns, int32_t paired,
                   uint8_t* out) {
  const int64_t count = columns / kBlock, bytes = native::group_bytes(Kind::kMxfp4, columns);
  std::memset(out, 0, static_cast<size_t>(gt_packed_bytes(0, rows, columns)));
  for (int64_t row = 0; row < round_up(rows, kGroup); row++) {
    const int64_t from = source_row(row, paired != 0);
    if (from >= rows) continue;
    uint8_t* group = out + row / kGroup * bytes;
    const int64_t lane = row % kGroup;
    for (int64_t b = 0; b < count; b++) {
      group[count * 256 + b * kGroup + lane] = scales[from * count + b];
      // Byte i of a block holds columns 2 i (low) and 2 i + 1 (high).
      const uint8_t* block = blocks + (from * count + b) * 16;
      const auto nibble = [block](int column) { return column % 2 ? block[column / 2] >> 4 : block[column / 2] & 15; };
      for (int j = 0; j < 4; j++) {
        uint8_t* four = group + b * 256 + j * 64 + lane * 4;
        for (int o = 0; o < 4; o++) {
          four[o] = static_cast<uint8_t>(nibble(8 * j + o) | nibble(8 * j + 4 + o) << 4);
        }
      }
    }
  }
}

void gt_pack_bf16(const uint16_t* source, int64_t rows, int64_t columns, uint8_t* out) {
  const int64_t bytes = native::group_bytes(Kind::kBf16, columns);
  std::memset(out, 0, static_cast<size_t>(gt_packed_bytes(1, rows, columns)));
  for (int64_t row = 0; row < rows; row++) {
    uint16_t* group = reinterpret_cast<uint16_t*>(out + row / kGroup * bytes);
    for (int64_t c = 0; c < columns; c++) {
      group[c / 2 * 2 * kGroup + row % kGroup * 2 + c % 2] = source[row * columns + c];
    }
  }
}

void gt_pack_int8(const uint16_t* source, int64_t rows, int64_t columns, uint8_t* out) {
  const int64_t blocks = round_up(columns, kBlock) / kBlock, bytes = native::group_bytes(Kind::kInt8, columns);
  std::memset(out, 0, static_cast<size_t>(gt_packed_bytes(2, rows, columns)));
  for (int64_t row = 0; row < round_up(rows, kGroup); row++) {
    uint8_t* group = out + row / kGroup * bytes;
    const int64_t lane = row % kGroup;
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t first = b * kBlock, count = row < rows ? (columns - first < kBlock ? columns - first : kBlock) : 0;
      quantize_block(row < rows ? source + row * columns + first : source, count, group + b * 512 + lane * 4,
                     reinterpret_cast<uint16_t*>(group + blocks * 512) + b * kGroup + lane);
    }
  }
}

void gt_pack_coarse(const uint8_t* packed, int64_t rows, int64_t columns, uint8_t* out, float* doubt) {
  const int64_t blocks = round_up(columns, kBlock) / kBlock, bytes = native::group_bytes(Kind::kInt8, columns);
  const int64_t coarse_bytes = native::group_bytes(Kind::kInt4, columns);
  std::memset(out, 0, static_cast<size_t>(gt_packed_bytes(static_cast<int32_t>(Kind::kInt4), rows, columns)));
  for (int64_t row = 0; row < round_up(rows, kGroup); row++) {
    const uint8_t* group = packed + row / kGroup * bytes;
    uint8_t* to = out + row / kGroup * coarse_bytes;
    const auto* scales = reinterpret_cast<const uint16_t*>(group + blocks * 512);
    auto* coarse = reinterpret_cast<uint16_t*>(to + blocks * 256);
    const int64_t lane = row % kGroup;
    double error = 0;
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t at = b * kGroup + lane;
      coarsen_block(group + b * 512 + lane * 4, scales[at], lane, to + b * 256, coarse + at, &error);
    }
    doubt[row] = static_cast<float>(std::sqrt(error) * 1.0001);
  }
}

// Compares ARM's prefill products in bytes with those in float32, on activations that int8 holds exactly: run by
// test_arm.py under an emulator.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "abi.h"
#include "gemm.h"
#include "kernels.h"

using namespace native;

namespace {

constexpr int64_t kColumns = 96;

struct Memory {
  uint8_t* data;
  explicit Memory(size_t bytes) : data(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64))) {}
  ~Memory() { std::free(data); }
};

std::vector<float> multiplied(const Gemm& gemm, Kind kind, const uint8_t* w, const std::vector<float>& x, int32_t count,
                              bool swiglu) {
  Memory packed(gemm.row_bytes(kind, kColumns) * static_cast<size_t>(count + gemm.tile));
  Memory panel(gemm.panel_bytes(kind, kColumns));
  for (int32_t tile = 0; tile < tile_count(count, gemm.tile); tile++) {
    const int32_t begin = tile_begin(count, gemm.tile, tile), end = tile_begin(count, gemm.tile, tile + 1);
    const float* rows[64];
    for (int32_t i = begin; i < end; i++) rows[i - begin] = x.data() + i * kColumns;
    gemm.pack(kind, rows, end - begin, kColumns, packed.data + static_cast<size_t>(begin) * gemm.row_bytes(kind, kColumns));
  }
  const uint8_t* const groups[2] = {w, w + group_bytes(kind, kColumns)};
  float bias[kStrip];
  for (int i = 0; i < kStrip; i++) bias[i] = static_cast<float>(i) / kStrip;
  std::vector<float> y(static_cast<size_t>(count * kStrip), 0.0f);
  const Output output{y.data(), kStrip, bias, kStrip, swiglu, 7.0f};
  gemm.multiply(kind, gemm.unpack(kind, groups, kColumns, panel.data), kColumns, packed.data, count, output, Ahead{});
  return y;
}

}  // namespace

int main() {
  std::srand(1);
  int wrong = 0;
  for (const Kind kind : {Kind::kMxfp4, Kind::kInt8}) {
    Memory w(static_cast<size_t>(2 * group_bytes(kind, kColumns)));
    std::vector<uint16_t> source(kStrip * kColumns);
    for (uint16_t& value : source) value = to_bf16(static_cast<float>(std::rand()) / RAND_MAX - 0.5f);
    std::vector<uint8_t> blocks(kStrip * kColumns / 2), scales(kStrip * kColumns / 32);
    for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(std::rand());
    for (uint8_t& byte : scales) byte = static_cast<uint8_t>(std::rand() % 8 == 0 ? 0 : 118 + std::rand() % 12);
    if (kind == Kind::kInt8) gt_pack_int8(source.data(), kStrip, kColumns, w.data);
    if (kind == Kind::kMxfp4) gt_pack_mxfp4(blocks.data(), scales.data(), kStrip, kColumns, 0, w.data);
    for (int32_t count = 1; count <= 11; count++) {
      std::vector<float> x(static_cast<size_t>(count * kColumns));
      for (size_t i = 0; i < x.size(); i++) {
        const int whole = i % kBlock == 5 ? 127 : std::rand() % 255 - 127;  // 127 is there, so that the scale is known
        x[i] = static_cast<float>(whole) * (i / kBlock % 2 == 0 ? 0.25f : 0.0078125f);
      }
      const bool swiglu = count / 2 % 2 == 0;  // even and odd numbers of tokens with and without
      const std::vector<float> expected = multiplied(*kFloatScalar, kind, w.data, x, count, swiglu);
      for (const Gemm* gemm : {kBytesDotprod, kBytesI8mm}) {
        const std::vector<float> got = multiplied(*gemm, kind, w.data, x, count, swiglu);
        double most = 0, size = 0;
        for (size_t i = 0; i < got.size(); i++) {
          most = std::fmax(most, std::fabs(got[i] - expected[i]));
          size = std::fmax(size, std::fabs(expected[i]));
        }
        std::printf("%s: %d x %d: %.2e of %.2e\n", gemm->name, static_cast<int>(kind), count, most, size);
        wrong += !(most <= 1e-5 * size) || size == 0;
      }
    }
  }
  return wrong;
}

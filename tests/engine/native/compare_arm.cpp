// Compares the ARM decode kernels with the plain ones on random matrices: run by test_arm.py under an emulator.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "abi.h"
#include "kernels.h"

using namespace native;

namespace {

constexpr int64_t kColumns = 96, kGroups = 3;

double worst(const std::vector<float>& a, const std::vector<float>& b) {
  double most = 0, size = 0;
  for (size_t i = 0; i < a.size(); i++) {
    most = std::fmax(most, std::fabs(a[i] - b[i]));
    size = std::fmax(size, std::fabs(b[i]));
  }
  return size > 0 ? most / size : 1;
}

int check(const char* name, double error, double limit) {
  std::printf("%s %.2e\n", name, error);
  return error <= limit ? 0 : 1;
}

}  // namespace

int main() {
  const Kernels *plain = kScalarKernels, *neon = kNeonKernels;
  std::srand(1);
  const auto random = [] { return static_cast<float>(std::rand()) / RAND_MAX * 2 - 1; };
  alignas(64) float values[kColumns], scale[kColumns / kBlock];
  int8_t quantized[kColumns];
  int32_t sum[kColumns / kBlock];
  for (float& value : values) value = random();
  const Activations x{values, quantized, scale, sum};
  plain->quantize(x, kColumns);
  int wrong = 0;
  const struct {
    const char* name;
    Kind kind;
    decltype(plain->bf16) of, against;
  } products[] = {{"mxfp4", Kind::kMxfp4, neon->mxfp4, plain->mxfp4},
                  {"mxfp4_int8", Kind::kMxfp4, neon->mxfp4_int8, plain->mxfp4_int8},
                  {"bf16", Kind::kBf16, neon->bf16, plain->bf16},
                  {"int8_int8", Kind::kInt8, neon->int8_int8, plain->int8_int8},
                  {"int4_int8", Kind::kInt4, neon->int4_int8, plain->int4_int8}};
  for (const auto& product : products) {
    const int64_t bytes = group_bytes(product.kind, kColumns) * kGroups;
    auto* w = static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>(bytes)));
    for (int64_t i = 0; i < bytes; i++) w[i] = static_cast<uint8_t>(std::rand());
    const int64_t rows = kGroups * kGroup;
    std::vector<uint16_t> source(static_cast<size_t>(rows * kColumns));
    for (uint16_t& value : source) value = to_bf16(random());
    if (product.kind == Kind::kBf16) gt_pack_bf16(source.data(), rows, kColumns, w);
    if (product.kind == Kind::kInt8) gt_pack_int8(source.data(), rows, kColumns, w);
    if (product.kind == Kind::kInt4) {
      std::vector<uint8_t> whole(static_cast<size_t>(gt_packed_bytes(static_cast<int32_t>(Kind::kInt8), rows, kColumns)));
      std::vector<float> doubt(static_cast<size_t>(rows));
      gt_pack_int8(source.data(), rows, kColumns, whole.data());
      gt_pack_coarse(whole.data(), rows, kColumns, w, doubt.data());
    }
    if (product.kind == Kind::kMxfp4) {
      std::vector<uint8_t> blocks(static_cast<size_t>(rows * kColumns / 2)), scales(static_cast<size_t>(rows * kColumns / 32));
      for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(std::rand());
      for (uint8_t& byte : scales) byte = static_cast<uint8_t>(118 + std::rand() % 5);
      gt_pack_mxfp4(blocks.data(), scales.data(), rows, kColumns, 0, w);
    }
    std::vector<float> got(static_cast<size_t>(rows)), expected(got);
    product.of(w, kColumns, 0, kGroups, x, got.data());
    product.against(w, kColumns, 0, kGroups, x, expected.data());
    wrong += check(product.name, worst(got, expected), 1e-5);
    std::free(w);
  }
  return wrong;
}

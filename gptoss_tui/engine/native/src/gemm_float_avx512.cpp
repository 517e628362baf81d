// float32 products with AVX-512.
#define NATIVE_LANES 16
#include "gemm_float.h"

namespace native {
namespace {
constexpr Gemm kGemm = float_gemm("float-avx512");
}
extern const Gemm* const kFloatAvx512 = &kGemm;
}  // namespace native

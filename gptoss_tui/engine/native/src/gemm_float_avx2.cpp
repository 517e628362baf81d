// float32 products with AVX2 and FMA.
#define NATIVE_LANES 8
#include "gemm_float.h"

namespace native {
namespace {
constexpr Gemm kGemm = float_gemm("float-avx2");
}
extern const Gemm* const kFloatAvx2 = &kGemm;
}  // namespace native

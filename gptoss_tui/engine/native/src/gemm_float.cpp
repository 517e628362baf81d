// float32 products on any machine.
#define NATIVE_LANES 4
#include "gemm_float.h"

namespace native {
namespace {
constexpr Gemm kGemm = float_gemm("float");
}
extern const Gemm* const kFloatScalar = &kGemm;
}  // namespace native

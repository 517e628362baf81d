// Attention in float32 with AVX2 and FMA.
#define NATIVE_LANES 8
#include "attention_float.h"

namespace native {
namespace {
constexpr Attention kAttention = float_attention();
}
extern const Attention* const kAttentionAvx2 = &kAttention;
}  // namespace native

// Attention in float32 with AVX-512.
#define NATIVE_LANES 16
#include "attention_float.h"

namespace native {
namespace {
constexpr Attention kAttention = float_attention();
}
extern const Attention* const kAttentionAvx512 = &kAttention;
}  // namespace native

// Attention in float32 on any machine.
#define NATIVE_LANES 4
#include "attention_float.h"

namespace native {
namespace {
constexpr Attention kAttention = float_attention();
}
extern const Attention* const kAttentionScalar = &kAttention;
}  // namespace native

// Attention in tiles with AMX.
#include "attention_tiles.h"
#include "tiles_amx.h"

namespace native {
namespace {
constexpr Attention kOne = tile_attention<AmxTiles, 1>(), kTwo = tile_attention<AmxTiles, 2>();
}
extern const Attention* const kAttentionAmx = &kOne;
extern const Attention* const kSplitAttentionAmx = &kTwo;
}  // namespace native

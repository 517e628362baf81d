// Attention in tiles with the AMX instructions emulated.
#include "attention_tiles.h"
#include "tiles_written.h"

namespace native {
namespace {
constexpr Attention kOne = tile_attention<WrittenTiles, 1>(), kTwo = tile_attention<WrittenTiles, 2>();
}
extern const Attention* const kAttentionWritten = &kOne;
extern const Attention* const kSplitAttentionWritten = &kTwo;
}  // namespace native

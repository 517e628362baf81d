// Products in tiles with the AMX instructions emulated.
#include "gemm_tiles.h"
#include "tiles_written.h"

namespace native {
namespace {
constexpr Gemm kOne = tile_gemm<WrittenTiles, 1>("bf16-tiles"), kTwo = tile_gemm<WrittenTiles, 2>("bf16x2-tiles");
}
extern const Gemm* const kTilesWritten = &kOne;
extern const Gemm* const kSplitTilesWritten = &kTwo;
}  // namespace native

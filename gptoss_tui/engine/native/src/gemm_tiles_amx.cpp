// Products in tiles with AMX.
#include "gemm_tiles.h"
#include "tiles_amx.h"

namespace native {
namespace {
constexpr Gemm kOne = tile_gemm<AmxTiles, 1>("bf16-amx"), kTwo = tile_gemm<AmxTiles, 2>("bf16x2-amx");
}
extern const Gemm* const kTilesAmx = &kOne;
extern const Gemm* const kSplitTilesAmx = &kTwo;
}  // namespace native

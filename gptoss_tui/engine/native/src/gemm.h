// Products for many tokens: what an instruction set provides to the driver (prefill.cpp). native.h has the layouts of
// weights.
//
// A strip is two groups of 16 rows of a matrix. A thread unpacks a strip once, into a panel that stays in its cache,
// and multiplies it by all tokens. Before that, activations are packed in tiles of up to `Gemm::tile` tokens.
#pragma once

#include "native.h"

namespace native {

constexpr int kStrip = 2 * kGroup;

// Rows of a float32 tile in registers of 4 floats: ARM has twice as many registers as baseline x86-64.
#if defined(__aarch64__)
#define NATIVE_NARROW_ROWS 6
#else
#define NATIVE_NARROW_ROWS 2
#endif

// A strip that is ready to be multiplied. The meaning of the pointers is private to `unpack` and `multiply` of a
// `Gemm`.
struct Strip {
  const void* values[2];
  const float* scales[2];
  // For kernels in which the first tiles unpack the groups: what they unpack, and where to.
  const uint8_t* packed[2] = {nullptr, nullptr};
  void* panel = nullptr;
};

// The weights to be read after this strip: they are prefetched into the cache little by little while it is multiplied.
struct Ahead {
  const uint8_t *at, *end;
};

// Where the rows of a product are written, and what is done to them before.
struct Output {
  float* y;           // row of the first token, column of the strip's first result
  int64_t stride;
  const float* bias;  // [kStrip]
  int32_t columns;    // results of a token: kStrip, or kGroup for the last strip of an odd number of groups
  bool swiglu;        // the first group is the gate and the second the linear part: kGroup results
  float limit;
};

constexpr int32_t kAnyCount = 1 << 30;

struct Gemm {
  const char* name;
  int32_t tile;
  // The most tokens that a strip is multiplied by at once, in whole tiles: their packed activations stay in the
  // second-level cache while all strips pass by.
  int32_t most;
  // Bytes of one token's packed activations, and of a thread's panel.
  size_t (*row_bytes)(Kind kind, int64_t columns);
  size_t (*panel_bytes)(Kind kind, int64_t columns);
  // Packs `count` <= tile tokens into count * row_bytes bytes. Bit r of the result: row r has a value that is not
  // finite, which its packed form cannot represent.
  uint64_t (*pack)(Kind kind, const float* const* rows, int32_t count, int64_t columns, void* tile);
  Strip (*unpack)(Kind kind, const uint8_t* const* groups, int64_t columns, void* panel);
  // Multiplies a strip by `count` tokens, which are packed one tile after the other.
  void (*multiply)(Kind kind, const Strip& strip, int64_t columns, const void* packed, int32_t count, const Output& output,
                   Ahead ahead);
  // Runs `steps` steps of products in registers alone, the most that the machine can do; returns the operations.
  int64_t (*peak)(int64_t steps);
};

// Tiles are as even as possible: 13 tokens in tiles of at most 12 are split into 7 and 6, since a tile of one is slow.
static inline int32_t tile_count(int32_t tokens, int32_t tile) { return (tokens + tile - 1) / tile; }
static inline int32_t tile_begin(int32_t tokens, int32_t tile, int32_t index) {
  return static_cast<int32_t>(static_cast<int64_t>(tokens) * index / tile_count(tokens, tile));
}

// Attention of a chunk: `tile` computes tokens first .. first + tokens - 1 at one key/value head, with at most
// kMostTileRows queries and `bytes` bytes of scratch memory.
constexpr int kMostTileRows = 192, kMostHeadDim = 128;
struct Attention {
  size_t bytes;
  void (*tile)(const ChunkAttention& chunk, int32_t head, int32_t first, int32_t tokens, void* memory);
};

// Each of these is null if the library was built without its instruction set.
extern const Gemm* const kFloatScalar;   // float32, any kind of weight
extern const Gemm* const kFloatAvx2;
extern const Gemm* const kFloatAvx512;
extern const Gemm* const kBytesAvx2;     // activations as int8 in groups of 32: kMxfp4
extern const Gemm* const kWordsAvx2;     // activations as int16 in groups of 32: kInt8
extern const Gemm* const kBytesAvx512;   // the same with VNNI: kMxfp4 and kInt8
extern const Gemm* const kBytesDotprod;  // the same with NEON
extern const Gemm* const kBytesI8mm;     // and with its products of small matrices
extern const Gemm* const kPairsBf16;     // activations as bf16 (VDPBF16PS): kMxfp4 and kBf16
extern const Gemm* const kSplitBf16;     // activations as the sum of two bf16
extern const Gemm* const kTilesAmx;      // bf16 in AMX tiles, any kind of weight
extern const Gemm* const kSplitTilesAmx;
extern const Gemm* const kTilesWritten;  // the same with the AMX instructions emulated: slow, for tests
extern const Gemm* const kSplitTilesWritten;
extern const Attention* const kAttentionScalar;  // in float32
extern const Attention* const kAttentionAvx2;
extern const Attention* const kAttentionAvx512;
extern const Attention* const kAttentionBf16;    // queries and shares rounded to bf16; keys and values are bf16
extern const Attention* const kAttentionAmx;      // the same in AMX tiles
extern const Attention* const kSplitAttentionAmx;  // queries and shares rounded to sums of two bf16
extern const Attention* const kAttentionWritten;  // both with the AMX instructions emulated
extern const Attention* const kSplitAttentionWritten;

}  // namespace native

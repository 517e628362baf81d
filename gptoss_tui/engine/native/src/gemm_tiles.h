// Products of bf16 pairs in tiles (tiles.h).
//
// Packed activations are, for each block of 32 columns, parts of [count][32] bf16. A strip is two B. The depth is cut into
// stretches whose B stays in the first-level cache while all rows are multiplied.
//
// Tiles are multiplied by a unit of their own, so that the vector units can unpack weights meanwhile: the first tiles of
// activations unpack each block while the block before it is multiplied.
#pragma once

#include "pairs.h"
#include "tiles.h"

namespace native {
namespace {

constexpr int64_t kStretch = 10;    // blocks
constexpr int32_t kMostTiles = 16;  // that are multiplied at once: their results wait for the next stretch, in 32 KB
constexpr int64_t kRing = kStretch + 1;

template <int Parts>
struct PackedTile {
  const uint8_t* data;
  int32_t count;

  // One part of a block; its rows are kTileStride apart.
  const uint8_t* block(int64_t b, int part) const { return data + (b * Parts + part) * count * kTileStride; }
};

// The bf16 tiles of a strip. Each source has `tile(g, b)`, block b of group g, and `unpack(b)`, which prepares block b.
struct InPlace {
  const uint8_t* group[2];

  const uint8_t* tile(int g, int64_t b) const { return group[g] + b * kTileBytes; }
  void unpack(int64_t) const {}
};

// Unpacked blocks lie in a ring, which holds a stretch and the first block of the next one.
template <Kind kind>
struct InRing {
  const uint8_t* group[2];
  int64_t blocks;
  uint8_t* ring;

  uint8_t* tile(int g, int64_t b) const { return ring + (2 * (b % kRing) + g) * kTileBytes; }
  void unpack(int64_t b) const {
    if (b >= blocks) return;
    for (int g = 0; g < 2; g++) {
      if (kind == Kind::kMxfp4) {
        unpack_mxfp4(group[g], blocks, b, tile(g, b));
      } else {
        unpack_int8(group[g], blocks, b, tile(g, b));
      }
    }
  }
};

// Multiplies blocks begin .. end - 1 of one or two tiles of activations and adds to their results at `c`, [16][kStrip]
// each. The first tiles (`fresh`) unpack the blocks.
template <class Tiles, int Parts, bool Two, class Weights>
void multiply_stretch(const Weights& weights, bool fresh, const PackedTile<Parts>* a, int64_t begin, int64_t end, float* c,
                      Ahead& ahead, int lines) {
  constexpr int kRowBytes = kStrip * sizeof(float);
  begin_sums<Tiles, Two>(begin == 0, c, kRowBytes);
  for (int64_t b = begin; b < end; b++) {
    fetch(ahead, lines);
    Tiles::template load<6>(weights.tile(0, b), kTileStride);
    Tiles::template load<7>(weights.tile(1, b), kTileStride);
    for (int part = 0; part < Parts; part++) {
      const uint8_t* second = Two ? a[1].block(b, part) : nullptr;
      add_products<Tiles, Two>(a[0].block(b, part), second, kTileStride);
    }
    if (fresh) weights.unpack(b + 1);
  }
  store_sums<Tiles, Two>(c, kRowBytes);
}

template <class Tiles, int Parts, class Weights>
void multiply_strip(const Weights& weights, int64_t blocks, const uint8_t* packed, int32_t count, const Output& output,
                    Ahead& ahead) {
  const int32_t tiles = tile_count(count, kTileRows);
  const int64_t row_bytes = blocks * Parts * kTileStride;
  const int lines = lines_of(ahead, (tiles + 1) / 2 * blocks);
  alignas(64) float c[kMostTiles][kTileRows * kStrip];
  weights.unpack(0);
  for (int64_t begin = 0; begin < blocks; begin += kStretch) {
    const int64_t end = begin + kStretch < blocks ? begin + kStretch : blocks;
    for (int32_t tile = 0; tile < tiles; tile += 2) {
      const bool two = tile + 1 < tiles;
      PackedTile<Parts> a[2];
      for (int i = 0; i < (two ? 2 : 1); i++) {
        const int32_t row = tile_begin(count, kTileRows, tile + i);
        a[i] = {packed + row * row_bytes, tile_begin(count, kTileRows, tile + i + 1) - row};
      }
      const auto multiply =
          two ? multiply_stretch<Tiles, Parts, true, Weights> : multiply_stretch<Tiles, Parts, false, Weights>;
      multiply(weights, tile == 0, a, begin, end, c[tile], ahead, lines);
    }
  }
  for (int32_t tile = 0; tile < tiles; tile++) {
    const int32_t row = tile_begin(count, kTileRows, tile);
    finish(c[tile], row, tile_begin(count, kTileRows, tile + 1) - row, output);
  }
}

// Tiles have as many rows as the highest of them: an instruction takes a cycle for each row. A tile that is one row lower
// also reads the row after it, whose results are dropped.
template <class Tiles, int Parts>
void multiply_in_tiles(Kind kind, const Strip& strip, int64_t columns, const void* packed, int32_t count,
                       const Output& output, Ahead ahead) {
  const int32_t tiles = tile_count(count, kTileRows);
  const int64_t blocks = columns / kBlock;
  const auto* rows = static_cast<const uint8_t*>(packed);
  auto* ring = static_cast<uint8_t*>(strip.panel);
  Tiles::begin((count + tiles - 1) / tiles);
  if (kind == Kind::kBf16) {
    multiply_strip<Tiles, Parts>(InPlace{{strip.packed[0], strip.packed[1]}}, blocks, rows, count, output, ahead);
  } else if (kind == Kind::kMxfp4) {
    const InRing<Kind::kMxfp4> weights{{strip.packed[0], strip.packed[1]}, blocks, ring};
    multiply_strip<Tiles, Parts>(weights, blocks, rows, count, output, ahead);
  } else {
    const InRing<Kind::kInt8> weights{{strip.packed[0], strip.packed[1]}, blocks, ring};
    multiply_strip<Tiles, Parts>(weights, blocks, rows, count, output, ahead);
  }
  Tiles::end();
}

// The first tiles unpack a strip, so that nothing is left to do before.
inline Strip groups_of(Kind, const uint8_t* const* groups, int64_t, void* panel) {
  Strip strip{};
  strip.packed[0] = groups[0];
  strip.packed[1] = groups[1];
  strip.panel = panel;
  return strip;
}

inline size_t ring_bytes(Kind kind, int64_t) { return kind == Kind::kBf16 ? 0 : 2 * kRing * kTileBytes; }

template <int Parts>
size_t tile_row_bytes(Kind, int64_t columns) {
  return static_cast<size_t>(columns) * 2 * Parts;
}

template <int Parts>
uint64_t pack_tile(Kind kind, const float* const* rows, int32_t count, int64_t columns, void* tile) {
  auto* out = static_cast<uint8_t*>(tile);
  for (int64_t b = 0; b < columns / kBlock; b++, out += Parts * count * kTileStride) {
    for (int32_t r = 0; r < count; r++) {
      _mm512_storeu_si512(out + r * kTileStride, pack_block(kind, rows[r] + b * kBlock));
      if (Parts == 2) _mm512_storeu_si512(out + (count + r) * kTileStride, pack_rest(kind, rows[r] + b * kBlock));
    }
  }
  return 0;
}

// Products in two parts take twice as many operations as are counted.
template <class Tiles, int Parts>
int64_t tile_peak(int64_t steps) {
  Tiles::begin(kTileRows);
  Tiles::template zero<0>();
  Tiles::template zero<1>();
  Tiles::template zero<2>();
  Tiles::template zero<3>();
  Tiles::template zero<4>();
  Tiles::template zero<6>();
  for (int64_t i = 0; i < steps; i++) {
    Tiles::template dot<0, 4, 6>();
    Tiles::template dot<1, 4, 6>();
    Tiles::template dot<2, 4, 6>();
    Tiles::template dot<3, 4, 6>();
  }
  Tiles::end();
  return steps * 4 * kTileRows * kGroup * kBlock * 2 / Parts;
}

template <class Tiles, int Parts>
constexpr Gemm tile_gemm(const char* name) {
  return {name, kTileRows, kMostTiles * kTileRows / Parts, tile_row_bytes<Parts>, ring_bytes, pack_tile<Parts>, groups_of,
          multiply_in_tiles<Tiles, Parts>, tile_peak<Tiles, Parts>};
}

}  // namespace
}  // namespace native

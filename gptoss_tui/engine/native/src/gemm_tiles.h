// Products of bf16 pairs in tiles, as in AMX: tile C [16][16] floats += A [16][32] x B [32][16], bf16. `Tiles` is AMX
// itself or an emulation of it (gemm_tiles_bf16.cpp), so that everything around it can be tested without AMX.
//
// Packed activations are, for each block of 32 columns, parts of [count][32] bf16. A tile of fewer than 16 rows also
// reads the memory after them, and those results are dropped. A strip is two B; with two A they make four C, which
// leaves two registers for A and two for B. The depth is cut into stretches whose B stays in the first-level cache
// while all rows are multiplied.
#pragma once

#include "pairs.h"

namespace native {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 1024, kTileStride = 64;
constexpr int64_t kStretch = 10;      // blocks
constexpr int32_t kTilesAtOnce = 16;  // tiles whose results wait for the next stretch: 32 KB

template <int Parts>
struct PackedTile {
  const uint8_t* data;
  int32_t count;

  // One part of a block; its rows are kTileStride apart.
  const uint8_t* block(int64_t b, int part) const { return data + (b * Parts + part) * count * kTileStride; }
};

// Multiplies blocks begin .. end - 1 of one or two tiles of activations and adds to their results at `c`, [16][kStrip]
// each.
template <class Tiles, int Parts, bool Two>
void multiply_stretch(const Strip& strip, const PackedTile<Parts>* a, int64_t begin, int64_t end, float* c, Ahead& ahead,
                      int lines) {
  constexpr int kRowBytes = kStrip * sizeof(float);
  const auto* w0 = static_cast<const uint8_t*>(strip.values[0]);
  const auto* w1 = static_cast<const uint8_t*>(strip.values[1]);
  float* below = c + kTileRows * kStrip;
  if (begin == 0) {
    Tiles::template zero<0>();
    Tiles::template zero<1>();
    if (Two) Tiles::template zero<2>();
    if (Two) Tiles::template zero<3>();
  } else {
    Tiles::template load<0>(c, kRowBytes);
    Tiles::template load<1>(c + kGroup, kRowBytes);
    if (Two) Tiles::template load<2>(below, kRowBytes);
    if (Two) Tiles::template load<3>(below + kGroup, kRowBytes);
  }
  for (int64_t b = begin; b < end; b++) {
    fetch(ahead, lines);
    Tiles::template load<6>(w0 + b * kTileBytes, kTileStride);
    Tiles::template load<7>(w1 + b * kTileBytes, kTileStride);
    for (int part = 0; part < Parts; part++) {
      Tiles::template load<4>(a[0].block(b, part), kTileStride);
      Tiles::template dot<0, 4, 6>();
      Tiles::template dot<1, 4, 7>();
      if (Two) {
        Tiles::template load<5>(a[1].block(b, part), kTileStride);
        Tiles::template dot<2, 5, 6>();
        Tiles::template dot<3, 5, 7>();
      }
    }
  }
  Tiles::template store<0>(c, kRowBytes);
  Tiles::template store<1>(c + kGroup, kRowBytes);
  if (Two) Tiles::template store<2>(below, kRowBytes);
  if (Two) Tiles::template store<3>(below + kGroup, kRowBytes);
}

// Multiplies tiles first .. last - 1 of `count` tokens.
template <class Tiles, int Parts>
void multiply_tiles(const Strip& strip, int64_t blocks, const uint8_t* packed, int32_t count, int32_t first, int32_t last,
                    const Output& output, Ahead& ahead, int lines) {
  const int64_t row_bytes = blocks * Parts * kTileStride;
  alignas(64) float c[kTilesAtOnce][kTileRows * kStrip];
  for (int64_t begin = 0; begin < blocks; begin += kStretch) {
    const int64_t end = begin + kStretch < blocks ? begin + kStretch : blocks;
    for (int32_t tile = first; tile < last; tile += 2) {
      const bool two = tile + 1 < last;
      PackedTile<Parts> a[2];
      for (int i = 0; i < (two ? 2 : 1); i++) {
        const int32_t row = tile_begin(count, kTileRows, tile + i);
        a[i] = {packed + row * row_bytes, tile_begin(count, kTileRows, tile + i + 1) - row};
      }
      float* to = c[tile - first];
      const auto multiply = two ? multiply_stretch<Tiles, Parts, true> : multiply_stretch<Tiles, Parts, false>;
      multiply(strip, a, begin, end, to, ahead, lines);
    }
  }
  for (int32_t tile = first; tile < last; tile++) {
    const int32_t row = tile_begin(count, kTileRows, tile);
    finish(c[tile - first], row, tile_begin(count, kTileRows, tile + 1) - row, output);
  }
}

template <class Tiles, int Parts>
void multiply_in_tiles(Kind, const Strip& strip, int64_t columns, const void* packed, int32_t count,
                       const Output& output, Ahead ahead) {
  const int32_t tiles = tile_count(count, kTileRows);
  const int lines = lines_of(ahead, (tiles + 1) / 2 * (columns / kBlock));
  Tiles::begin();
  for (int32_t first = 0; first < tiles; first += kTilesAtOnce) {
    const int32_t last = first + kTilesAtOnce < tiles ? first + kTilesAtOnce : tiles;
    multiply_tiles<Tiles, Parts>(strip, columns / kBlock, static_cast<const uint8_t*>(packed), count, first, last, output,
                                 ahead, lines);
  }
  Tiles::end();
}

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
  Tiles::begin();
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
  return {name, kTileRows, tile_row_bytes<Parts>, pairs_panel_bytes, pack_tile<Parts>, unpack_pairs,
          multiply_in_tiles<Tiles, Parts>, tile_peak<Tiles, Parts>};
}

}  // namespace
}  // namespace native

// Tiles with the AMX instructions emulated in plain code: slow, for tests on machines without AMX.
#pragma once

#include <cstring>

#include "tiles.h"

namespace native {
namespace {

// Emulates the instructions by Intel's description: pairs are multiplied and added to float32 sums.
struct WrittenTiles {
  static inline thread_local uint8_t tiles[8][kTileBytes];
  static inline thread_local int height = 0;  // of C and A

  static int rows_of(int tile) { return tile < 6 ? height : kTileRows; }

  // Old contents of a tile must not matter, so it is filled with NaN.
  static void begin(int rows) {
    height = rows;
    end();
  }
  static void end() { std::memset(tiles, 0xff, sizeof tiles); }

  template <int T>
  static void zero() {
    std::memset(tiles[T], 0, kTileBytes);
  }
  template <int T>
  static void load(const void* from, int64_t stride) {
    const auto* rows = static_cast<const uint8_t*>(from);
    for (int r = 0; r < rows_of(T); r++) std::memcpy(tiles[T] + r * 64, rows + r * stride, 64);
  }
  template <int T>
  static void store(void* to, int64_t stride) {
    auto* rows = static_cast<uint8_t*>(to);
    for (int r = 0; r < rows_of(T); r++) std::memcpy(rows + r * stride, tiles[T] + r * 64, 64);
  }

  static float number(const uint8_t* tile, int row, int index) {
    uint16_t half;
    std::memcpy(&half, tile + row * 64 + index * 2, 2);
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }

  template <int C, int A, int B>
  static void dot() {
    for (int m = 0; m < rows_of(C); m++) {
      for (int n = 0; n < 16; n++) {
        float sum;
        std::memcpy(&sum, tiles[C] + m * 64 + n * 4, 4);
        for (int k = 0; k < 16; k++) {
          sum += number(tiles[A], m, 2 * k) * number(tiles[B], k, 2 * n);
          sum += number(tiles[A], m, 2 * k + 1) * number(tiles[B], k, 2 * n + 1);
        }
        std::memcpy(tiles[C] + m * 64 + n * 4, &sum, 4);
      }
    }
  }
};

}  // namespace
}  // namespace native

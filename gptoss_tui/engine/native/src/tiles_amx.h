// Tiles with AMX. The instructions are written in assembly because the compilers' intrinsics take tile numbers only as
// literals, and because GCC 12's _tile_loadconfig is declared to read only 8 of the 64 bytes of its operand, so that
// the stores to the rest are optimized away.
#pragma once

#include "tiles.h"

namespace native {
namespace {

struct AmxTiles {
  struct alignas(64) Configuration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {};
  };
  static_assert(sizeof(Configuration) == 64);

  // C (0 to 3) and A (4 and 5) have `rows` rows, B (6 and 7) has all 16.
  static void begin(int rows) {
    Configuration configuration;
    for (int t = 0; t < 8; t++) configuration.rows[t] = static_cast<uint8_t>(t < 6 ? rows : kTileRows);
    asm volatile("ldtilecfg %0" : : "m"(configuration) : "memory");
  }
  static void end() { asm volatile("tilerelease" : : : "memory"); }

  template <int T>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(T));
  }
  template <int T>
  static void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(T) : "memory");
  }
  template <int T>
  static void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(T) : "memory");
  }
  template <int C, int A, int B>
  static void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};

}  // namespace
}  // namespace native

// Tiles as in AMX: C [16][16] floats += A [16][32] x B [32][16], bf16. `Tiles` is AMX itself (tiles_amx.h) or an
// emulation of it (tiles_written.h), so that everything around it can be tested without AMX. Tiles 0 to 3 are C, 4 and 5
// are A, 6 and 7 are B: two B and one A make two sums, and with two A four.
#pragma once

#include <cstdint>

namespace native {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 1024, kTileStride = 64;

// Clears the sums if they are `fresh`, or else loads them from c, whose rows are `stride` bytes apart.
template <class Tiles, bool Two>
void begin_sums(bool fresh, const float* c, int64_t stride) {
  if (fresh) {
    Tiles::template zero<0>();
    Tiles::template zero<1>();
    if (Two) Tiles::template zero<2>();
    if (Two) Tiles::template zero<3>();
  } else {
    const float* below = c + kTileRows * stride / 4;
    Tiles::template load<0>(c, stride);
    Tiles::template load<1>(c + 16, stride);
    if (Two) Tiles::template load<2>(below, stride);
    if (Two) Tiles::template load<3>(below + 16, stride);
  }
}

// Adds the products of A, whose rows are `stride` bytes apart, and of the B that have been loaded. Without `Two`, there
// is no `second`.
template <class Tiles, bool Two>
void add_products(const void* first, const void* second, int64_t stride) {
  Tiles::template load<4>(first, stride);
  Tiles::template dot<0, 4, 6>();
  Tiles::template dot<1, 4, 7>();
  if (Two) Tiles::template load<5>(second, stride);
  if (Two) Tiles::template dot<2, 5, 6>();
  if (Two) Tiles::template dot<3, 5, 7>();
}

template <class Tiles, bool Two>
void store_sums(float* c, int64_t stride) {
  float* below = c + kTileRows * stride / 4;
  Tiles::template store<0>(c, stride);
  Tiles::template store<1>(c + 16, stride);
  if (Two) Tiles::template store<2>(below, stride);
  if (Two) Tiles::template store<3>(below + 16, stride);
}

}  // namespace
}  // namespace native

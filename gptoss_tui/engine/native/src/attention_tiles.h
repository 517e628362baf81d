// Attention of a chunk in tiles of bf16 pairs (gemm_tiles.h). Queries and shares are A, as they lie in memory; keys and
// values are B, packed for each block of keys. A band is two tiles of queries.
//
// Tiles take 4 cycles for 16 scores of 64 dimensions and what they mix, so that everything else counts. For 16 scores
// that is, beside a load and half a store, 11 operations of two vector units: the difference to the row's reference (1),
// 2 ** x (2 to reduce, 3 of the polynomial, 2 to scale), the sum (1) and half a rounding (2). To have no more,
// - scores are relative to any number of their size, the row's reference, not to their maximum. It is raised when shares
//   become large, which is rare after the first block, so that no maxima are computed and little is scaled.
// - the sums of shares stay in 16 lanes until the end.
// - the values of a band are mixed while shares of the next band are computed: tiles are multiplied by a unit of their
//   own.
// - of a block, a band multiplies only the 32s of keys that any of its tokens sees.
// With two parts, queries and shares are sums of two bf16, which have 16 bits: keys and values have no more than one.
#pragma once

#include "attention.h"
#include "attention_pairs.h"
#include "gemm_tiles.h"

namespace native {
namespace {

constexpr int kBlockKeys = 128, kBandRows = 2 * kTileRows;
constexpr int kMostBands = kMostTileRows / kBandRows;
static_assert(kMostTileRows % kBandRows == 0, "a band may read rows behind the last, but none behind the memory");

template <int Parts>
struct alignas(64) BandMemory {
  uint16_t query[Parts][kMostTileRows * kMostHeadDim];  // [rows][dim], times log2(e)
  uint16_t keys[kBlockKeys * kMostHeadDim];
  uint16_t values[kBlockKeys * kMostHeadDim];
  float score[kBandRows][kBlockKeys];
  uint16_t share[2][Parts][kBandRows][kBlockKeys];  // of the band and the one before
  float mixed[kMostTileRows * kMostHeadDim];        // [rows][dim]
  float mass[kMostTileRows][kGroup];                // the mass is the sum
  float reference[kMostTileRows];
};

// What a block means to a band: rows top .. top + height - 1, and keys begin .. end - 1 of the block, in whole 32s.
struct Band {
  int32_t top, height, begin, end;
  int32_t share;  // which memory its shares are in
  bool fresh;     // nothing has been mixed before
};

// C are tiles 0 to 3, A 4 and 5, B 6 and 7.
template <class Tiles, bool Two>
inline void clear_sums() {
  Tiles::template zero<0>();
  Tiles::template zero<1>();
  if (Two) Tiles::template zero<2>();
  if (Two) Tiles::template zero<3>();
}
template <class Tiles, bool Two>
inline void load_sums(const float* c, int32_t row) {
  const int64_t bytes = row * 4;
  Tiles::template load<0>(c, bytes);
  Tiles::template load<1>(c + kGroup, bytes);
  if (Two) Tiles::template load<2>(c + kTileRows * row, bytes);
  if (Two) Tiles::template load<3>(c + kTileRows * row + kGroup, bytes);
}
template <class Tiles, bool Two>
inline void store_sums(float* c, int32_t row) {
  const int64_t bytes = row * 4;
  Tiles::template store<0>(c, bytes);
  Tiles::template store<1>(c + kGroup, bytes);
  if (Two) Tiles::template store<2>(c + kTileRows * row, bytes);
  if (Two) Tiles::template store<3>(c + kTileRows * row + kGroup, bytes);
}
template <class Tiles, bool Two>
inline void add_products(const uint16_t* a, int32_t row) {
  const int64_t bytes = row * 2;
  Tiles::template load<4>(a, bytes);
  Tiles::template dot<0, 4, 6>();
  Tiles::template dot<1, 4, 7>();
  if (Two) Tiles::template load<5>(a + kTileRows * row, bytes);
  if (Two) Tiles::template dot<2, 5, 6>();
  if (Two) Tiles::template dot<3, 5, 7>();
}

template <class Tiles, int Parts, bool Two>
void score_band(BandMemory<Parts>& m, const Band& band, int32_t dim) {
  for (int32_t k = band.begin; k < band.end; k += 2 * kGroup) {
    clear_sums<Tiles, Two>();
    for (int32_t d = 0; d < dim; d += kBlock) {
      Tiles::template load<6>(m.keys + k * dim + d * kGroup, kTileStride);
      Tiles::template load<7>(m.keys + (k + kGroup) * dim + d * kGroup, kTileStride);
      for (const auto& query : m.query) add_products<Tiles, Two>(query + band.top * dim + d, dim);
    }
    store_sums<Tiles, Two>(&m.score[0][k], kBlockKeys);
  }
}

// Mixes dimensions d .. d + 31; the block has packed `keys` keys.
template <class Tiles, int Parts, bool Two>
void mix_band(BandMemory<Parts>& m, const Band& band, int32_t dim, int32_t keys, int32_t d) {
  float* mixed = m.mixed + band.top * dim + d;
  if (band.fresh) {
    clear_sums<Tiles, Two>();
  } else {
    load_sums<Tiles, Two>(mixed, dim);
  }
  for (int32_t k = band.begin; k < band.end; k += kBlock) {
    Tiles::template load<6>(m.values + d * keys + k * kGroup, kTileStride);
    Tiles::template load<7>(m.values + (d + kGroup) * keys + k * kGroup, kTileStride);
    for (const auto& share : m.share[band.share]) add_products<Tiles, Two>(&share[0][k], kBlockKeys);
  }
  store_sums<Tiles, Two>(mixed, dim);
}

// 2 ** x with a relative error of 8e-5, or 2e-7 with two parts; 0 for very small x.
template <int Parts>
inline __m512 power_of_two(__m512 x) {
  const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  const auto step = [r](__m512 p, float next) { return _mm512_fmadd_ps(p, r, _mm512_set1_ps(next)); };
  __m512 p;
  if (Parts == 1) {
    p = step(step(step(_mm512_set1_ps(7.802452e-2f), 2.2606716e-1f), 6.9583356e-1f), 9.999252e-1f);
  } else {
    p = step(step(step(_mm512_set1_ps(1.8775767e-3f), 8.98934e-3f), 5.5826318e-2f), 2.4015361e-1f);
    p = step(step(p, 6.931531e-1f), 9.9999994e-1f);
  }
  return _mm512_scalef_ps(p, x);
}

// What is left of 32 floats that have been rounded to `first`.
inline __m512i round_rest(__m512 low, __m512 high, __m512i first) {
  const __m512i first_low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(first));
  const __m512i first_high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(first, 1));
  return round_block(_mm512_sub_ps(low, (__m512)_mm512_slli_epi32(first_low, 16)),
                     _mm512_sub_ps(high, (__m512)_mm512_slli_epi32(first_high, 16)));
}

// Converts 32 floats to the sum of `Parts` bf16, the second of which lies `apart` after the first.
template <int Parts>
inline void round_to(__m512 low, __m512 high, uint16_t* to, int64_t apart) {
  const __m512i first = round_block(low, high);
  _mm512_storeu_si512(to, first);
  if (Parts == 2) _mm512_storeu_si512(to + apart, round_rest(low, high, first));
}

constexpr float kMuch = 4096.0f;  // a sum of shares from which on the reference is raised

// Turns the scores of a row into shares relative to its reference and returns their sums.
template <int Parts>
inline __m512 share_row(BandMemory<Parts>& m, const Band& band, int32_t r) {
  const __m512 reference = _mm512_set1_ps(m.reference[band.top + r]);
  const float* score = m.score[r];
  uint16_t* share = m.share[band.share][0][r];
  __m512 sum = _mm512_setzero_ps(), other = _mm512_setzero_ps();
  for (int32_t k = band.begin; k < band.end; k += kBlock) {
    const __m512 low = power_of_two<Parts>(_mm512_sub_ps(_mm512_loadu_ps(score + k), reference));
    const __m512 high = power_of_two<Parts>(_mm512_sub_ps(_mm512_loadu_ps(score + k + kGroup), reference));
    sum = _mm512_add_ps(sum, low);
    other = _mm512_add_ps(other, high);
    round_to<Parts>(low, high, share + k, kBandRows * kBlockKeys);
  }
  return _mm512_add_ps(sum, other);
}

// Makes the largest score of a row its reference, which it exceeds by far.
template <int Parts>
void raise_reference(BandMemory<Parts>& m, const Band& band, int32_t r, int32_t dim) {
  const int32_t row = band.top + r;
  __m512 most = _mm512_loadu_ps(m.score[r] + band.begin);
  for (int32_t k = band.begin + kGroup; k < band.end; k += kGroup) {
    most = _mm512_max_ps(_mm512_loadu_ps(m.score[r] + k), most);
  }
  const float reference = _mm512_reduce_max_ps(most);
  const __m512 shrink = power_of_two<Parts>(_mm512_set1_ps(m.reference[row] - reference));
  m.reference[row] = reference;
  _mm512_storeu_ps(m.mass[row], _mm512_mul_ps(_mm512_loadu_ps(m.mass[row]), shrink));
  if (band.fresh) return;
  float* mixed = m.mixed + row * dim;
  for (int32_t d = 0; d < dim; d += kGroup) {
    _mm512_storeu_ps(mixed + d, _mm512_mul_ps(_mm512_loadu_ps(mixed + d), shrink));
  }
}

template <int Parts>
inline void take_in_row(BandMemory<Parts>& m, const Band& band, int32_t r, int32_t dim) {
  __m512 sum = share_row(m, band, r);
  if (_mm512_cmp_ps_mask(sum, _mm512_set1_ps(kMuch), _CMP_GT_OQ) != 0) {
    raise_reference(m, band, r, dim);
    sum = share_row(m, band, r);
  }
  float* mass = m.mass[band.top + r];
  _mm512_storeu_ps(mass, _mm512_add_ps(_mm512_loadu_ps(mass), sum));
}

// Hides keys before `from` and from `to` on in the scores of a row.
inline void hide(float* score, int32_t begin, int32_t end, int64_t from, int64_t to) {
  const __m512 hidden = _mm512_set1_ps(kNotSeen);
  const auto hide_in = [&](int32_t k, uint32_t mask) {
    const __m512 seen = _mm512_loadu_ps(score + k);
    _mm512_storeu_ps(score + k, _mm512_mask_mov_ps(seen, static_cast<__mmask16>(mask), hidden));
  };
  for (int32_t k = begin; k < least(from, end); k += kGroup) hide_in(k, (1u << least(from - k, kGroup)) - 1);
  for (int32_t k = static_cast<int32_t>(greatest(to, begin)) / kGroup * kGroup; k < end; k += kGroup) {
    hide_in(k, 0xffffu << greatest(to - k, 0));
  }
}

// Hides what the tokens of a band do not see of the block that begins with key `block`.
template <int Parts>
void hide_edges(BandMemory<Parts>& m, const ChunkAttention& c, const Band& band, int32_t first, int64_t block) {
  const int32_t shared = c.heads / c.kv_heads;
  const int32_t earliest = first + band.top / shared, latest = first + (band.top + band.height - 1) / shared;
  if (seen_from(c, latest) - block <= band.begin && c.past + earliest + 1 - block >= band.end) return;
  for (int32_t r = 0; r < band.height; r++) {
    const int32_t token = first + (band.top + r) / shared;
    hide(m.score[r], band.begin, band.end, seen_from(c, token) - block, c.past + token + 1 - block);
  }
}

template <class Tiles, int Parts>
void score(BandMemory<Parts>& m, const Band& band, int32_t dim) {
  (band.height > kTileRows ? score_band<Tiles, Parts, true> : score_band<Tiles, Parts, false>)(m, band, dim);
}
template <class Tiles, int Parts>
void mix(BandMemory<Parts>& m, const Band& band, int32_t dim, int32_t keys, int32_t d) {
  (band.height > kTileRows ? mix_band<Tiles, Parts, true> : mix_band<Tiles, Parts, false>)(m, band, dim, keys, d);
}

// Rounds the queries, and begins with the sinks alone.
template <int Parts>
void load_queries(BandMemory<Parts>& m, const ChunkAttention& c, int32_t head, int32_t first, int32_t rows) {
  constexpr float kLog2e = 1.44269504f;
  const __m512 by = _mm512_set1_ps(kLog2e);
  const int32_t shared = c.heads / c.kv_heads;
  for (int32_t r = 0; r < rows; r++) {
    const int32_t h = head * shared + r % shared;
    const float* query = c.query + (first + r / shared) * c.query_stride + h * c.dim;
    for (int32_t d = 0; d < c.dim; d += kBlock) {
      const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(query + d), by);
      const __m512 high = _mm512_mul_ps(_mm512_loadu_ps(query + d + kGroup), by);
      round_to<Parts>(low, high, m.query[0] + r * c.dim + d, kMostTileRows * kMostHeadDim);
    }
    m.reference[r] = at_least(c.sinks[h] * kLog2e, kLeastScore);
    _mm512_storeu_ps(m.mass[r], _mm512_setr_ps(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  }
}

template <int Parts>
void store_mixed(const BandMemory<Parts>& m, const ChunkAttention& c, int32_t head, int32_t first, int32_t rows) {
  const int32_t shared = c.heads / c.kv_heads;
  for (int32_t r = 0; r < rows; r++) {
    float* out = c.out + (first + r / shared) * c.out_stride + (head * shared + r % shared) * c.dim;
    const float* mixed = m.mixed + r * c.dim;
    const __m512 share = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(_mm512_loadu_ps(m.mass[r])));
    for (int32_t d = 0; d < c.dim; d += kGroup) _mm512_storeu_ps(out + d, _mm512_mul_ps(_mm512_loadu_ps(mixed + d), share));
  }
}

// Computes tokens first .. first + tokens - 1 of the chunk at key/value head `head`.
template <class Tiles, int Parts>
void attend_in_tiles(const ChunkAttention& c, int32_t head, int32_t first, int32_t tokens, void* memory) {
  auto& m = *static_cast<BandMemory<Parts>*>(memory);
  const int32_t shared = c.heads / c.kv_heads, rows = tokens * shared, dim = c.dim;
  const auto* keys = static_cast<const uint16_t*>(c.keys) + head * c.head_stride;
  const auto* values = static_cast<const uint16_t*>(c.values) + head * c.head_stride;
  load_queries(m, c, head, first, rows);
  const int32_t bands = tile_count(rows, kBandRows);
  bool fresh[kMostBands];
  for (bool& one : fresh) one = true;
  Tiles::begin(kTileRows);
  const int64_t end = c.past + first + tokens;
  for (int64_t block = seen_from(c, first); block < end; block += kBlockKeys) {
    const int32_t count = static_cast<int32_t>(least(kBlockKeys, end - block));
    const int32_t packed = (count + kBlock - 1) / kBlock * kBlock;
    key_pairs(keys + block * dim, count, dim, packed, m.keys);
    value_pairs(values + block * dim, count, dim, packed, m.values);
    Band before{};
    for (int32_t i = 0; i < bands; i++) {
      Band band;
      band.top = i * kBandRows;
      band.height = static_cast<int32_t>(least(kBandRows, rows - band.top));
      const int32_t earliest = first + band.top / shared, latest = first + (band.top + band.height - 1) / shared;
      const int64_t from = greatest(seen_from(c, earliest) - block, 0), to = least(c.past + latest + 1 - block, count);
      if (from >= to) continue;
      band.begin = static_cast<int32_t>(from) / kBlock * kBlock;
      band.end = (static_cast<int32_t>(to) + kBlock - 1) / kBlock * kBlock;
      band.share = before.share ^ 1;
      band.fresh = fresh[i];
      fresh[i] = false;
      score<Tiles>(m, band, dim);
      hide_edges(m, c, band, first, block);
      for (int32_t d = 0; d < dim; d += kStrip) {
        if (before.height > 0) mix<Tiles>(m, before, dim, packed, d);
        for (int32_t r = band.height * d / dim; r < band.height * (d + kStrip) / dim; r++) take_in_row(m, band, r, dim);
      }
      before = band;
    }
    for (int32_t d = 0; d < dim && before.height > 0; d += kStrip) mix<Tiles>(m, before, dim, packed, d);
  }
  Tiles::end();
  store_mixed(m, c, head, first, rows);
}

template <class Tiles, int Parts>
constexpr Attention tile_attention() {
  return {sizeof(BandMemory<Parts>), attend_in_tiles<Tiles, Parts>};
}

}  // namespace
}  // namespace native

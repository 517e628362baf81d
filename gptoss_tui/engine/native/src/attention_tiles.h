// Attention of a chunk in tiles of bf16 pairs (tiles.h). A band is two tiles of queries. It is multiplied by the keys
// of a block (A are queries, B the panel of the keys), and its shares by the values (A are shares, B the panel of the
// values).
//
// Tiles are multiplied by a unit of their own. With 64 dimensions, it takes 4 cycles for 16 scores and what their shares
// mix. While the shares of a band are computed, row by row, the next band is multiplied by its keys and the one before by
// its values, a few tiles at each row.
//
// For 16 scores, the two vector units have 9 or 10 operations to do, which take 5 cycles: the difference to the row's
// reference (1), 2 ** x (2 to reduce, 3 of the polynomial, 1 or 2 to scale), the sum (1), and half of a rounding (2). To
// have no more,
// - scores are relative to the row's reference, any number of their size, not to their maximum. It is raised when shares
//   become large, which is rare after the first block, so that no maxima are computed and little is scaled.
// - sums of shares stay in 16 lanes until the end.
// - of a block, a band is multiplied only by the 32s of keys that any of its tokens sees.
// With two parts, queries and shares are sums of two bf16, which have 16 bits; keys and values are single bf16.
#pragma once

#include "attention.h"
#include "attention_pairs.h"
#include "tiles.h"

namespace native {
namespace {

constexpr int kBlockKeys = 128, kBandRows = 2 * kTileRows;
constexpr int kMostBands = kMostTileRows / kBandRows;
static_assert(kMostTileRows % kBandRows == 0, "tiles may have rows behind the last one, but not behind the memory");

template <int Parts>
struct alignas(64) BandMemory {
  uint16_t keys[3][kBlockKeys * kMostHeadDim], values[3][kBlockKeys * kMostHeadDim];  // of three blocks
  float score[2][kBandRows][kBlockKeys];                                              // of two bands
  uint16_t share[2][Parts][kBandRows][kBlockKeys];
  uint16_t query[Parts][kMostTileRows * kMostHeadDim];  // [rows][dim], times log2(e)
  float mixed[kMostTileRows * kMostHeadDim];            // [rows][dim]
  float mass[kMostTileRows][kGroup];                    // a row's mass is the sum of its lanes
  float reference[kMostTileRows];
};

// A band and a block of which it sees keys begin .. end - 1, in whole 32s. Without rows, there is none.
struct Band {
  int32_t top = 0, height = 0;  // rows
  int64_t block = 0;            // its first key
  int32_t packed = 0;           // keys in its panels
  int32_t begin = 0, end = 0;
  int32_t panels = 0, place = 0;  // which of the blocks and bands in memory
  bool fresh = true;              // nothing has been mixed before
};

// Products of one or two A by two B, in steps of 32 along the depth, in which B's tiles follow each other.
struct Products {
  const uint16_t* a;
  int32_t a_row, a_part;  // from one row, or part, to the next
  const uint16_t* b[2];
  float* c;
  int32_t c_row;
  int32_t steps;
  bool two, fresh;
};

template <class Tiles, int Parts, bool Two>
void multiply_step(const Products& p, int32_t step) {
  if (step == 0) begin_sums<Tiles, Two>(p.fresh, p.c, p.c_row * 4);
  Tiles::template load<6>(p.b[0] + step * kTileBytes / 2, kTileStride);
  Tiles::template load<7>(p.b[1] + step * kTileBytes / 2, kTileStride);
  for (int part = 0; part < Parts; part++) {
    const uint16_t* a = p.a + part * p.a_part + step * kBlock;
    add_products<Tiles, Two>(a, a + kTileRows * p.a_row, p.a_row * 2);
  }
  if (step + 1 == p.steps) store_sums<Tiles, Two>(p.c, p.c_row * 4);
}

// Products that are still to be done.
template <class Tiles, int Parts>
struct Queue {
  Products products[kMostHeadDim / kStrip + kBlockKeys / kStrip];
  int32_t count = 0, next = 0, step = 0;
  int32_t left = 0;  // steps

  void add(const Products& more) {
    products[count++] = more;
    left += more.steps;
  }
  void advance() {
    const Products& p = products[next];
    (p.two ? multiply_step<Tiles, Parts, true> : multiply_step<Tiles, Parts, false>)(p, step);
    left--;
    if (++step < p.steps) return;
    step = 0;
    if (++next == count) count = next = 0;
  }
  void finish() {
    while (left > 0) advance();
  }

  void add_scores(BandMemory<Parts>& m, const Band& band, int32_t dim) {
    constexpr int32_t kPart = kMostTileRows * kMostHeadDim;
    for (int32_t k = band.begin; k < band.end; k += kStrip) {
      const uint16_t* keys = m.keys[band.panels] + k * dim;
      add({m.query[0] + band.top * dim, dim, kPart, {keys, keys + kGroup * dim}, &m.score[band.place][0][k], kBlockKeys,
           dim / kBlock, band.height > kTileRows, true});
    }
  }
  void add_values(BandMemory<Parts>& m, const Band& band, int32_t dim) {
    constexpr int32_t kPart = kBandRows * kBlockKeys;
    for (int32_t d = 0; d < dim && band.height > 0; d += kStrip) {
      const uint16_t* values = m.values[band.panels] + d * band.packed + band.begin * kGroup;
      add({&m.share[band.place][0][0][band.begin], kBlockKeys, kPart, {values, values + kGroup * band.packed},
           m.mixed + band.top * dim + d, dim, (band.end - band.begin) / kBlock, band.height > kTileRows, band.fresh});
    }
  }
};

// Hides the keys before `from` and from `to` on in scores begin .. end - 1 of a row.
inline void hide_outside(float* score, int32_t begin, int32_t end, int64_t from, int64_t to) {
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

// Passes through the blocks and in each through the bands that see it, and packs the blocks.
template <int Parts>
struct Walk {
  BandMemory<Parts>& m;
  const ChunkAttention& c;
  const uint16_t *keys, *values;
  int32_t first, rows;
  int64_t block, end;
  int32_t turn = 0, panels = 0, place = 0;
  bool fresh[kMostBands];

  Walk(BandMemory<Parts>& memory, const ChunkAttention& chunk, int32_t head, int32_t first_token, int32_t tokens)
      : m(memory), c(chunk), keys(static_cast<const uint16_t*>(chunk.keys) + head * chunk.head_stride),
        values(static_cast<const uint16_t*>(chunk.values) + head * chunk.head_stride), first(first_token),
        rows(tokens * (chunk.heads / chunk.kv_heads)), block(seen_from(chunk, first_token)),
        end(chunk.past + first_token + tokens) {
    for (bool& one : fresh) one = true;
  }

  int32_t count() const { return static_cast<int32_t>(least(kBlockKeys, end - block)); }
  int32_t packed() const { return (count() + kBlock - 1) / kBlock * kBlock; }
  int32_t token(int32_t row) const { return first + row / (c.heads / c.kv_heads); }

  Band next() {
    for (; block < end; block += kBlockKeys, panels = (panels + 1) % 3, turn = 0) {
      if (turn == 0) {
        key_pairs(keys + block * c.dim, count(), c.dim, packed(), m.keys[panels]);
        value_pairs(values + block * c.dim, count(), c.dim, packed(), m.values[panels]);
      }
      while (turn * kBandRows < rows) {
        const Band band = see(turn++);
        if (band.begin < band.end) {
          fresh[turn - 1] = false;
          place ^= 1;
          return band;
        }
      }
    }
    return {};
  }

  Band see(int32_t index) const {
    Band band;
    band.top = index * kBandRows;
    band.height = static_cast<int32_t>(least(kBandRows, rows - band.top));
    band.block = block;
    band.packed = packed();
    const int64_t from = seen_from(c, token(band.top)) - block;
    const int64_t to = c.past + token(band.top + band.height - 1) + 1 - block;
    band.begin = static_cast<int32_t>(greatest(0, least(from, band.packed))) / kBlock * kBlock;
    band.end = static_cast<int32_t>(greatest(0, least(to + kBlock - 1, band.packed))) / kBlock * kBlock;
    band.panels = panels;
    band.place = place;
    band.fresh = fresh[index];
    return band;
  }

  // Hides what the tokens of a band do not see.
  void hide(const Band& band) const {
    const int32_t last = band.top + band.height - 1;
    const bool all_begin = seen_from(c, token(last)) <= band.block + band.begin;
    const bool all_end = c.past + token(band.top) >= band.block + band.end - 1;
    if (all_begin && all_end) return;
    for (int32_t r = 0; r < band.height; r++) {
      const int64_t from = seen_from(c, token(band.top + r)), to = c.past + token(band.top + r) + 1;
      hide_outside(m.score[band.place][r], band.begin, band.end, from - band.block, to - band.block);
    }
  }
};

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
  const float* score = m.score[band.place][r];
  uint16_t* share = m.share[band.place][0][r];
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
  __m512 most = _mm512_loadu_ps(m.score[band.place][r] + band.begin);
  for (int32_t k = band.begin + kGroup; k < band.end; k += kGroup) {
    most = _mm512_max_ps(_mm512_loadu_ps(m.score[band.place][r] + k), most);
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
    m.reference[r] = c.sinks[h] * kLog2e;
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
    for (int32_t d = 0; d < c.dim; d += kGroup) {
      _mm512_storeu_ps(out + d, _mm512_mul_ps(_mm512_loadu_ps(mixed + d), share));
    }
  }
}

// Computes tokens first .. first + tokens - 1 of the chunk at key/value head `head`.
template <class Tiles, int Parts>
void attend_in_tiles(const ChunkAttention& c, int32_t head, int32_t first, int32_t tokens, void* memory) {
  auto& m = *static_cast<BandMemory<Parts>*>(memory);
  Walk<Parts> walk(m, c, head, first, tokens);
  Queue<Tiles, Parts> queue;
  load_queries(m, c, head, first, walk.rows);
  Tiles::begin(kTileRows);
  Band before, band = walk.next();
  queue.add_scores(m, band, c.dim);
  queue.finish();
  while (band.height > 0) {
    const Band after = walk.next();
    queue.add_values(m, before, c.dim);
    if (before.top == band.top) queue.finish();  // what is mixed must not be scaled meanwhile
    queue.add_scores(m, after, c.dim);
    walk.hide(band);
    const int32_t steps = queue.left;
    for (int32_t r = 0, due = 0; r < band.height; r++) {
      for (due += steps; due >= band.height; due -= band.height) queue.advance();
      take_in_row(m, band, r, c.dim);
    }
    before = band;
    band = after;
  }
  queue.add_values(m, before, c.dim);
  queue.finish();
  Tiles::end();
  store_mixed(m, c, head, first, walk.rows);
}

template <class Tiles, int Parts>
constexpr Attention tile_attention() {
  return {sizeof(BandMemory<Parts>), attend_in_tiles<Tiles, Parts>};
}

}  // namespace
}  // namespace native

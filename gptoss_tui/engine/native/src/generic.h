// The kernels that are the same for all instruction sets, written with the compiler's vectors of kWidth floats. Each
// kernels_*.cpp defines NATIVE_WIDTH, includes this, and gets code for its own instructions.
#pragma once

#include <cmath>
#include <cstring>
#include <utility>

#include "kernels.h"

namespace native {
namespace {

constexpr int kWidth = NATIVE_WIDTH;
typedef float Floats __attribute__((vector_size(4 * NATIVE_WIDTH)));
typedef int32_t Ints __attribute__((vector_size(4 * NATIVE_WIDTH)));
typedef uint32_t Words __attribute__((vector_size(4 * NATIVE_WIDTH)));
typedef uint16_t Halves __attribute__((vector_size(2 * NATIVE_WIDTH)));
typedef int8_t Bytes __attribute__((vector_size(NATIVE_WIDTH)));

#define NATIVE_INLINE inline __attribute__((always_inline))

template <typename V>
NATIVE_INLINE V load(const void* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <typename V>
NATIVE_INLINE void store(void* to, V v) {
  std::memcpy(to, &v, sizeof v);
}
NATIVE_INLINE Floats all(float value) { return Floats{} + value; }
// If an element is NaN, these return the second one: a value whose NaN must not get lost is passed second.
NATIVE_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }
NATIVE_INLINE Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
NATIVE_INLINE Floats from_halves(const uint16_t* from) {
  return (Floats)(__builtin_convertvector(load<Halves>(from), Words) << 16);
}
NATIVE_INLINE float sum_of(Floats v) {
  float lanes[kWidth];
  std::memcpy(lanes, &v, sizeof v);
  for (int step = kWidth / 2; step >= 1; step /= 2) {
    for (int i = 0; i < step; i++) lanes[i] += lanes[i + step];
  }
  return lanes[0];
}
NATIVE_INLINE float largest_of(Floats v) {
  float lanes[kWidth];
  std::memcpy(lanes, &v, sizeof v);
  float best = lanes[0];
  for (int i = 1; i < kWidth; i++) best = lanes[i] > best ? lanes[i] : best;
  return best;
}

template <int... LANE>
NATIVE_INLINE Floats chosen_lanes(Floats a, Floats b, std::integer_sequence<int, LANE...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, LANE...);
#else
  return __builtin_shuffle(a, b, Ints{LANE...});
#endif
}

// Lane l of the result adds lanes l and l ^ STEP of `a`, or of `b` where l has the bit STEP.
template <int STEP, int... LANE>
NATIVE_INLINE Floats folded(Floats a, Floats b, std::integer_sequence<int, LANE...>) {
  return chosen_lanes(a, b, std::integer_sequence<int, (LANE & STEP ? kWidth + LANE : LANE)...>()) +
         chosen_lanes(a, b, std::integer_sequence<int, (LANE & STEP ? kWidth + (LANE ^ STEP) : LANE ^ STEP)...>());
}

// Lane i of the result is the sum of v[i]; `v` is overwritten.
template <int STEP = kWidth / 2>
NATIVE_INLINE Floats sums_of(Floats* v) {
  for (int i = 0; i < STEP; i++) v[i] = folded<STEP>(v[i], v[i + STEP], std::make_integer_sequence<int, kWidth>());
  if constexpr (STEP > 1) {
    return sums_of<STEP / 2>(v);
  } else {
    return v[0];
  }
}

// exp(x) with a relative error below 2e-7; 0 far below 0, infinity far above. Cody-Waite reduction and a polynomial of
// degree 6.
NATIVE_INLINE Floats exp_of(Floats x) {
  const Floats low = all(-87.0f), high = all(88.0f);  // 2 to the 128 is infinite
  const Ints tiny = x < low;
  x = smaller(high, larger(low, x));
  const Floats magic = all(12582912.0f);
  const Floats shifted = x * 1.44269504088896341f + magic;
  const Floats n = shifted - magic;
  Floats r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Floats p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Ints power = ((Ints)shifted - 0x4B400000 + 127) << 23;
  const Floats result = p * (Floats)power;
  return (Floats)((Ints)result & ~tiny);
}

void quantize(const Activations& a, int64_t columns) {
  for (int64_t b = 0; b < columns / kBlock; b++) {
    const float* x = a.values + b * kBlock;
    Floats most = Floats{}, nothing = Floats{};
    for (int i = 0; i < kBlock; i += kWidth) {
      const Floats v = load<Floats>(x + i);
      most = larger(most, larger(v, -v));
      nothing = nothing + v * 0.0f;  // NaN if v is infinite or NaN, which int8 could not represent
    }
    const float size = largest_of(most);
    const Floats inverse = all(size > 0 ? 127.0f / size : 0.0f), magic = all(12582912.0f);
    Ints total = Ints{};
    for (int i = 0; i < kBlock; i += kWidth) {
      const Ints q = (Ints)(load<Floats>(x + i) * inverse + magic) - 0x4B400000;
      total += q;
      store(a.quantized + b * kBlock + i, __builtin_convertvector(q, Bytes));
    }
    int32_t lanes[kWidth], sum = 0;
    std::memcpy(lanes, &total, sizeof total);
    for (int i = 0; i < kWidth; i++) sum += lanes[i];
    a.scale[b] = size / 127.0f + sum_of(nothing);
    a.sum[b] = sum;
  }
}

void rms_norm(const float* x, const float* scale, int64_t count, float* y) {
  Floats squares = Floats{};
  for (int64_t i = 0; i < count; i += kWidth) {
    const Floats v = load<Floats>(x + i);
    squares += v * v;
  }
  const float factor = 1.0f / std::sqrt(sum_of(squares) / static_cast<float>(count) + kNormEps);
  for (int64_t i = 0; i < count; i += kWidth) store(y + i, load<Floats>(x + i) * factor * load<Floats>(scale + i));
}

void swiglu(const float* y, const float* bias, int64_t groups, float limit, float* h) {
  for (int64_t g = 0; g < groups; g++, y += 2 * kGroup, bias += 2 * kGroup, h += kGroup) {
    for (int i = 0; i < kGroup; i += kWidth) {
      const Floats gate = smaller(all(limit), load<Floats>(y + i) + load<Floats>(bias + i));
      Floats linear = load<Floats>(y + kGroup + i) + load<Floats>(bias + kGroup + i);
      linear = smaller(all(limit), larger(all(-limit), linear));
      store(h + i, gate / (1.0f + exp_of(gate * -kSwigluAlpha)) * (linear + 1.0f));
    }
  }
}

void add(const float* y, const float* bias, float weight, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kWidth) {
    Floats v = load<Floats>(y + i);
    if (bias != nullptr) v += load<Floats>(bias + i);
    store(out + i, load<Floats>(out + i) + v * weight);
  }
}

void rope(float* x, const float* cos, const float* sin, int64_t dim, float scale) {
  const int64_t half = dim / 2;
  for (int64_t i = 0; i < half; i++) {
    const float first = x[i], second = x[i + half];
    x[i] = (first * cos[i] - second * sin[i]) * scale;
    x[i + half] = (second * cos[i] + first * sin[i]) * scale;
  }
}

// A head's running softmax: the largest score so far, the mass relative to it, and the mixed values in `out`.
struct Running {
  float largest, mass;
};

// Turns `count` (at most kKeysAtOnce) scores into shares relative to the new largest one; returns the factor for what
// has been mixed so far.
NATIVE_INLINE float take_in(Running& head, float* scores, int64_t count) {
  for (int64_t i = count; i < kKeysAtOnce; i++) scores[i] = -1e30f;
  Floats most = all(head.largest);
  for (int i = 0; i < kKeysAtOnce; i += kWidth) most = larger(most, load<Floats>(scores + i));
  const float largest = largest_of(most);
  Floats mass = Floats{};
  for (int i = 0; i < kKeysAtOnce; i += kWidth) {
    const Floats share = exp_of(load<Floats>(scores + i) - largest);
    store(scores + i, share);
    mass += share;
  }
  const float shrink = largest == head.largest ? 1.0f : std::exp(head.largest - largest);
  head.mass = head.mass * shrink + sum_of(mass);
  head.largest = largest;
  return shrink;
}

// Some rows of keys or values, of VECTORS * kWidth elements, as floats: in place, or converted into `room`.
template <int VECTORS, bool WIDE>
NATIVE_INLINE const float* as_floats(const void* rows, int64_t first, int64_t count, float* room) {
  constexpr int64_t kDim = VECTORS * kWidth;
  if (WIDE) return static_cast<const float*>(rows) + first * kDim;
  const uint16_t* from = static_cast<const uint16_t*>(rows) + first * kDim;
  for (int64_t i = 0; i < count * kDim; i += kWidth) {
    __builtin_prefetch(from + i + kKeysAtOnce * kDim);  // prefetch the next rows while these are used
    store(room + i, from_halves(from + i));
  }
  return room;
}

// scores[k] = query x key k for `count` keys, kWidth at a time: each lane of their products belongs to one of them.
template <int VECTORS>
NATIVE_INLINE void score_keys(const float* query, const float* keys, int64_t count, float* scores) {
  constexpr int64_t kDim = VECTORS * kWidth;
  for (int64_t k = 0; k < count; k += kWidth) {
    Floats products[kWidth];
    for (int i = 0; i < kWidth; i++) {
      const float* key = keys + (k + i < count ? k + i : k) * kDim;
      products[i] = load<Floats>(key) * load<Floats>(query);
      for (int v = 1; v < VECTORS; v++) products[i] += load<Floats>(key + v * kWidth) * load<Floats>(query + v * kWidth);
    }
    store(scores + k, sums_of(products));
  }
}

// Attention of heads of VECTORS * kWidth elements that share the keys.
template <int VECTORS, bool WIDE>
void attend_all(const float* query, int64_t stride, int64_t heads, const Sight& sight, const float* sinks, float* out,
                int64_t out_stride, float* scratch) {
  constexpr int64_t kDim = VECTORS * kWidth;
  float* scores = scratch;
  float* room = scores + kKeysAtOnce;
  auto* running = reinterpret_cast<Running*>(room + kKeysAtOnce * kDim);
  float* shares = reinterpret_cast<float*>(running + heads);
  for (int64_t h = 0; h < heads; h++) {
    running[h] = {sinks[h], 1.0f};
    std::memset(out + h * out_stride, 0, kDim * sizeof(float));
  }
  for (int64_t first = 0; first < sight.count; first += kKeysAtOnce) {
    const int64_t count = sight.count - first < kKeysAtOnce ? sight.count - first : kKeysAtOnce;
    const float* keys = as_floats<VECTORS, WIDE>(sight.keys, first, count, room);
    for (int64_t h = 0; h < heads; h++) {
      score_keys<VECTORS>(query + h * stride, keys, count, scores);
      const float shrink = take_in(running[h], scores, count);
      std::memcpy(shares + h * kKeysAtOnce, scores, kKeysAtOnce * sizeof(float));
      if (shrink == 1.0f) continue;
      float* mixed = out + h * out_stride;
      for (int v = 0; v < VECTORS; v++) store(mixed + v * kWidth, load<Floats>(mixed + v * kWidth) * shrink);
    }
    const float* values = as_floats<VECTORS, WIDE>(sight.values, first, count, room);
    for (int64_t h = 0; h < heads; h++) {
      Floats mixed[VECTORS];
      for (int v = 0; v < VECTORS; v++) mixed[v] = load<Floats>(out + h * out_stride + v * kWidth);
      for (int64_t k = 0; k < count; k++) {
        const float share = shares[h * kKeysAtOnce + k];
        for (int v = 0; v < VECTORS; v++) mixed[v] += load<Floats>(values + k * kDim + v * kWidth) * share;
      }
      for (int v = 0; v < VECTORS; v++) store(out + h * out_stride + v * kWidth, mixed[v]);
    }
  }
  for (int64_t h = 0; h < heads; h++) {
    const float share = 1.0f / running[h].mass;
    for (int v = 0; v < VECTORS; v++) {
      store(out + h * out_stride + v * kWidth, load<Floats>(out + h * out_stride + v * kWidth) * share);
    }
  }
}

// The same for heads of any size, number by number.
template <bool WIDE>
void attend_any(const float* query, int64_t stride, int64_t heads, int64_t dim, const Sight& sight, const float* sinks,
                float* out, int64_t out_stride, float* scores) {
  const auto number = [](const void* rows, int64_t at) {
    return WIDE ? static_cast<const float*>(rows)[at] : from_bf16(static_cast<const uint16_t*>(rows)[at]);
  };
  for (int64_t h = 0; h < heads; h++, query += stride, out += out_stride) {
    Running running{sinks[h], 1.0f};
    std::memset(out, 0, static_cast<size_t>(dim) * sizeof(float));
    for (int64_t first = 0; first < sight.count; first += kKeysAtOnce) {
      const int64_t count = sight.count - first < kKeysAtOnce ? sight.count - first : kKeysAtOnce;
      for (int64_t k = 0; k < count; k++) {
        scores[k] = 0;
        for (int64_t i = 0; i < dim; i++) scores[k] += query[i] * number(sight.keys, (first + k) * dim + i);
      }
      const float shrink = take_in(running, scores, count);
      for (int64_t i = 0; i < dim; i++) {
        out[i] *= shrink;
        for (int64_t k = 0; k < count; k++) out[i] += scores[k] * number(sight.values, (first + k) * dim + i);
      }
    }
    for (int64_t i = 0; i < dim; i++) out[i] /= running.mass;
  }
}

template <bool WIDE>
void attend_of(const float* query, int64_t stride, int64_t heads, int64_t dim, const Sight& sight, const float* sinks,
               float* out, int64_t out_stride, float* scratch) {
  if (dim == 64) {
    attend_all<64 / kWidth, WIDE>(query, stride, heads, sight, sinks, out, out_stride, scratch);
  } else if (dim == 32) {
    attend_all<32 / kWidth, WIDE>(query, stride, heads, sight, sinks, out, out_stride, scratch);
  } else {
    attend_any<WIDE>(query, stride, heads, dim, sight, sinks, out, out_stride, scratch);
  }
}

void attend(const float* query, int64_t stride, int64_t heads, int64_t dim, const Sight& sight, bool wide,
            const float* sinks, float* out, int64_t out_stride, float* scratch) {
  (wide ? attend_of<true> : attend_of<false>)(query, stride, heads, dim, sight, sinks, out, out_stride, scratch);
}

float largest(const float* x, int64_t count) {
  Floats most[4] = {all(x[0]), all(x[0]), all(x[0]), all(x[0])};
  int64_t i = 0;
  for (; i + 4 * kWidth <= count; i += 4 * kWidth) {
    for (int v = 0; v < 4; v++) most[v] = larger(load<Floats>(x + i + v * kWidth), most[v]);
  }
  float best = largest_of(larger(larger(most[0], most[1]), larger(most[2], most[3])));
  for (; i < count; i++) best = x[i] > best ? x[i] : best;
  return best;
}

int64_t likeliest(const float* x, const float* counts, int64_t count) {
  constexpr int64_t kStretch = 1024;
  const auto best_of = [&](int64_t first, int64_t end) {
    Floats most = all(-INFINITY);
    int64_t i = first;
    for (; i + kWidth <= end; i += kWidth) {
      const Floats v = load<Floats>(x + i);
      most = larger(load<Floats>(counts + i) > 0.0f ? v : all(-INFINITY), most);
    }
    float best = largest_of(most);
    for (; i < end; i++) best = counts[i] > 0 && x[i] > best ? x[i] : best;
    return best;
  };
  float best = -INFINITY;
  int64_t where = -1;
  for (int64_t first = 0; first < count; first += kStretch) {
    const int64_t end = first + kStretch < count ? first + kStretch : count;
    const float found = best_of(first, end);
    if (found > best) {
      best = found;
      where = first;
    }
  }
  if (where < 0) return -1;
  while (counts[where] <= 0 || x[where] != best) where++;
  return where;
}

double mass(const float* x, const float* counts, float largest, float factor, int64_t count) {
  constexpr int64_t kStretch = 1024;  // terms that are added up as float
  double total = 0;
  for (int64_t first = 0; first < count; first += kStretch) {
    const int64_t end = first + kStretch < count ? first + kStretch : count;
    Floats part = Floats{};
    int64_t i = first;
    for (; i + kWidth <= end; i += kWidth) {
      part += load<Floats>(counts + i) * exp_of((load<Floats>(x + i) - largest) * factor);
    }
    total += static_cast<double>(sum_of(part));
    // A forbidden row must count 0 however large it is: the minimum avoids infinity times 0.
    for (; i < end; i++) total += static_cast<double>(counts[i] * std::exp(std::fmin((x[i] - largest) * factor, 88.0f)));
  }
  return total;
}

// log(x) for 0 < x < 1, with a relative error below 2e-7.
NATIVE_INLINE Floats log_below_one(Floats x) {
  const Ints bits = (Ints)x - 0x3f3504f3;  // sqrt(1 / 2), so that the remainder of x is around 1
  const Floats exponent = __builtin_convertvector(bits >> 23, Floats);
  const Floats r = (Floats)((bits & 0x7fffff) + 0x3f3504f3) - 1.0f;
  Floats p = all(7.0376836292e-2f);
  p = p * r - 1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r - 1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r - 1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r - 2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  return exponent * 0.693147180560f + (p * r * r * r - 0.5f * r * r + r);
}

// A number from the exponential distribution for each row, always the same for the same key.
NATIVE_INLINE Floats exponential(Words row, const uint32_t* key) {
  Words x = row * 0x9e3779b1u + key[0];
  x = (x ^ (x >> 16)) * 0x21f0aaadu;
  x = (x ^ (x >> 15)) * 0x735a2d97u ^ key[1];
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  x = x ^ (x >> 16);
  // -log(1 - u) for a number u between 0 and 1. Below 1 / 256, u gets more bits: it is the small results that win.
  const Floats rest = (__builtin_convertvector((Ints)(~x >> 8), Floats) + 0.5f) * 0x1p-24f;
  const Floats fine = (__builtin_convertvector((Ints)(x & 0xffffff), Floats) + 0.5f) * 0x1p-32f;
  const Ints is_fine = (Ints)(x >> 24) == 0;
  return is_fine ? fine * (1.0f + 0.5f * fine) : -log_below_one(rest);
}

constexpr float kRounding = 1e-4f;  // of float32 sums, in addition to the coarse rows' errors

double screen(const Screen& s, int64_t first, int64_t count) {
  Words row;
  for (int i = 0; i < kWidth; i++) row[i] = static_cast<uint32_t>(first + i);
  Floats total = Floats{};
  for (int64_t at = first; at < first + count; at += kWidth, row += kWidth) {
    const Floats logit = load<Floats>(s.coarse + at), doubt = load<Floats>(s.doubt + at) * s.size;
    const Floats used = load<Floats>(s.used + at);
    total += load<Floats>(s.counts + at) * exp_of(logit - s.largest);
    if (s.factor == 0.0f) {
      store(s.reach + at, used > 0.0f ? logit + doubt * s.deviations + kRounding : all(-INFINITY));
    } else {
      store(s.reach + at, used * exp_of((logit - s.largest) * s.factor) / exponential(row, s.key));
    }
  }
  return static_cast<double>(sum_of(total));
}

int32_t read(const uint8_t* data, int64_t bytes) {
  constexpr int64_t kStreams = 4, kAhead = 1024;
  const int64_t stretch = bytes / kStreams / 64 * 64;
  Ints sum[kStreams] = {};
  for (int64_t at = 0; at < stretch; at += 64) {
    for (int s = 0; s < kStreams; s++) {
      const uint8_t* from = data + s * stretch + at;
      __builtin_prefetch(from + kAhead);
      for (int i = 0; i < 64 / (4 * kWidth); i++) sum[s] += load<Ints>(from + i * 4 * kWidth);
    }
  }
  const Ints total = sum[0] + sum[1] + sum[2] + sum[3];
  int32_t lanes[kWidth], result = 0;
  std::memcpy(lanes, &total, sizeof total);
  for (int i = 0; i < kWidth; i++) result ^= lanes[i];
  return result;
}

using Product = decltype(Kernels::bf16);

// The table of an instruction set with these products.
constexpr Kernels table_of(const char* name, Product mxfp4, Product mxfp4_int8, Product bf16, Product int8_int8,
                           Product int4_int8) {
  return {name, quantize, mxfp4, mxfp4_int8, bf16,    int8_int8, int4_int8, rms_norm, swiglu,
          add,  attend,   rope,  likeliest,  largest, mass,      screen,    read};
}

}  // namespace
}  // namespace native

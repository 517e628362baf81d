// Code shared by the kernels. A row of a matrix is handled by one simdgroup, whose 32 lanes each sum a part of it.
// Tests compile these sources as C++ (tests/engine/metal/shim.h), which has no address spaces: hence SHARED.

using namespace metal;

#ifndef SHARED
#define SHARED threadgroup
#endif

#define THREADS 256
#define SIMDS 8
#define LANES 32

inline float4 load4(const device float* at) {
  return *(const device float4*)at;
}

// bfloat16 is the upper half of float32.
inline float4 load4(const device bfloat16_t* at) {
  const uint2 words = *(const device uint2*)at;
  return float4(
      as_type<float>(words.x << 16),
      as_type<float>(words.x & 0xFFFF0000u),
      as_type<float>(words.y << 16),
      as_type<float>(words.y & 0xFFFF0000u));
}

template <typename T>
inline void load16(const device T* at, thread float4* into) {
  for (int i = 0; i < 4; i++) {
    into[i] = load4(at + 4 * i);
  }
}

// x [H] divided by its root mean square, times scale, rounded to T. All threads must take part. The result is declared
// as vectors so that it is aligned for them.
template <typename T, int H>
inline void normed(
    const device float* x,
    const device float* scale,
    threadgroup float4* vectors,
    threadgroup float* sums,
    uint index,
    uint lane,
    uint simd_index) {
  threadgroup float* into = (threadgroup float*)vectors;
  float sum = 0.0f;
  for (uint i = index; i < H; i += THREADS) {
    sum += x[i] * x[i];
  }
  sum = simd_sum(sum);
  if (lane == 0) {
    sums[simd_index] = sum;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float total = 0.0f;
  for (uint i = 0; i < SIMDS; i++) {
    total += sums[i];
  }
  const float factor = rsqrt(total / H + RMS_NORM_EPS);
  for (uint i = index; i < H; i += THREADS) {
    into[i] = float(T(x[i] * factor * scale[i]));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

// The K largest of E scores, largest first (of equal ones, the lower index first), and their softmax. Runs on one
// simdgroup, whose lanes each read every 32nd score.
template <int E, int K>
inline void
top_k(const threadgroup float* scores, threadgroup uint* chosen, threadgroup float* shares, uint lane) {
  float mine[(E + LANES - 1) / LANES];
  for (uint j = 0; j < (E + LANES - 1) / LANES; j++) {
    const uint expert = lane + LANES * j;
    mine[j] = expert < E ? scores[expert] : -INFINITY;
  }
  float values[K];
  for (uint n = 0; n < K; n++) {
    float best = -INFINITY;
    uint at = lane;
    for (uint j = 0; j < (E + LANES - 1) / LANES; j++) {
      if (mine[j] > best) {
        best = mine[j];
        at = lane + LANES * j;
      }
    }
    values[n] = simd_max(best);
    const uint expert = simd_min(best == values[n] ? at : uint(E - 1));
    for (uint j = 0; j < (E + LANES - 1) / LANES; j++) {
      mine[j] = lane + LANES * j == expert ? -INFINITY : mine[j];
    }
    if (lane == 0) {
      chosen[n] = expert;
    }
  }
  float total = 0.0f;
  for (uint n = 0; n < K; n++) {
    total += exp(values[n] - values[0]);
  }
  if (lane == 0) {
    for (uint n = 0; n < K; n++) {
      shares[n] = exp(values[n] - values[0]) / total;
    }
  }
}

// The dot product of 16 packed values of a block with 16 others. Four bits of E2M1 become a half: the sign is moved to
// the sign bit and the rest to the end of the exponent and the start of the mantissa, which leaves a factor of 2^-14.
// Two are converted at once: n and n + 4 of a word.
inline float packed_dot(uint2 words, uint scale, const thread float4* values) {
  float sum = 0.0f;
  for (int part = 0; part < 2; part++) {
    uint word = part == 0 ? words.x : words.y;
    for (int n = 0; n < 4; n++) {
      const half2 both = as_type<half2>(((word << 9) & 0x0E000E00u) | ((word << 12) & 0x80008000u));
      sum += values[2 * part][n] * float(both.x) + values[2 * part + 1][n] * float(both.y);
      word >>= 4;
    }
  }
  return sum * (as_type<float>(scale << 23) * 16384.0f);
}

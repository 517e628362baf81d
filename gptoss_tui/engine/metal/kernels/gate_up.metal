// Adds up the router's partial sums and chooses the experts; then computes their first projection and activation. Rows
// alternate between gate and linear.
// t [H], without the factor of RMSNorm; parts [G, E] of the router's products; squares [G] for the norm; router_bias
// [E]; words [E, 2 I, H / 8], scales [E, 2 I, H / 32], bias [E, 2 I]. Out: hidden [K, I]; chosen, shares [K].
// A simdgroup computes LOOPS times PAIRS values of one expert; the grid's second axis is the expert.
SHARED float sums[SIMDS * E];
SHARED float squared[SIMDS];
SHARED float scores[E];
SHARED uint best[K];
SHARED float softmax[K];
const uint lane = thread_index_in_simdgroup;
const uint simd_index = simdgroup_index_in_threadgroup;
const uint index = thread_position_in_threadgroup.x;
for (uint expert = lane; expert < E; expert += LANES) {
  float part = 0.0f;
  for (uint g = simd_index; g < G; g += SIMDS) {
    part += parts[g * E + expert];
  }
  sums[simd_index * E + expert] = part;
}
float part = 0.0f;
for (uint g = index; g < G; g += THREADS) {
  part += squares[g];
}
part = simd_sum(part);
if (lane == 0) {
  squared[simd_index] = part;
}
threadgroup_barrier(mem_flags::mem_threadgroup);
float norm = 0.0f;
for (uint i = 0; i < SIMDS; i++) {
  norm += squared[i];
}
const float factor = rsqrt(norm / H + RMS_NORM_EPS);
if (simd_index == 0) {
  for (uint expert = lane; expert < E; expert += LANES) {
    float score = 0.0f;
    for (uint i = 0; i < SIMDS; i++) {
      score += sums[i * E + expert];
    }
    scores[expert] = score * factor + router_bias[expert];
  }
  top_k<E, K>(scores, best, softmax, lane);
}
threadgroup_barrier(mem_flags::mem_threadgroup);

const uint group = threadgroup_position_in_grid.x;
const uint slot = threadgroup_position_in_grid.y;
if (group == 0 && slot == 0 && index < K) {
  chosen[index] = best[index];
  shares[index] = softmax[index];
}
const uint last = best[slot] * (2 * I) + 2 * I - 1;
for (uint n = 0; n < LOOPS; n++) {
  const uint first = ((group * LOOPS + n) * SIMDS + simd_index) * PAIRS;
  if (first >= I) {
    break;
  }
  const uint base = best[slot] * (2 * I) + 2 * first;
  float sum[2 * PAIRS];
  for (uint r = 0; r < 2 * PAIRS; r++) {
    sum[r] = 0.0f;
  }
  for (uint i = 16 * lane; i < H; i += 16 * LANES) {
    float4 values[4];
    load16(t + i, values);
    for (uint r = 0; r < 2 * PAIRS; r++) {
      const uint row = min(base + r, last);
      const uint2 packed = *(const device uint2*)(words + row * (H / 8) + i / 8);
      sum[r] += packed_dot(packed, scales[row * (H / 32) + i / 32], values);
    }
  }
  for (uint p = 0; p < PAIRS; p++) {
    float gate = simd_sum(sum[2 * p]) * factor;
    float up = simd_sum(sum[2 * p + 1]) * factor;
    if (lane == 0 && first + p < I) {
      gate = min(gate + float(bias[base + 2 * p]), SWIGLU_LIMIT);
      up = clamp(up + float(bias[base + 2 * p + 1]), -SWIGLU_LIMIT, SWIGLU_LIMIT);
      hidden[slot * I + first + p] = T(gate / (1.0f + exp(-SWIGLU_ALPHA * gate)) * (up + 1.0f));
    }
  }
}

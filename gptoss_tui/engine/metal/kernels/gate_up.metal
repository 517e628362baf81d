// The first projection of the chosen experts, and their activation. Rows alternate between gate and linear.
// t [H]; scores [E]; words [E, 2 I, H / 8], scales [E, 2 I, H / 32], bias [E, 2 I]. Out: hidden [K, I].
// A simdgroup has PAIRS values of one expert, the grid's second axis is the expert.
SHARED uint chosen[K];
SHARED float shares[K];
const uint lane = thread_index_in_simdgroup;
const uint simd_index = simdgroup_index_in_threadgroup;
if (simd_index == 0) {
  top_k<E, K>(scores, chosen, shares, lane);
}
threadgroup_barrier(mem_flags::mem_threadgroup);

const uint slot = threadgroup_position_in_grid.y;
const uint first = (threadgroup_position_in_grid.x * SIMDS + simd_index) * PAIRS;
if (first >= I) {
  return;
}
const uint base = chosen[slot] * (2 * I) + 2 * first;
const uint last = chosen[slot] * (2 * I) + 2 * I - 1;
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
  float gate = simd_sum(sum[2 * p]);
  float up = simd_sum(sum[2 * p + 1]);
  if (lane == 0 && first + p < I) {
    gate = min(gate + float(bias[base + 2 * p]), SWIGLU_LIMIT);
    up = clamp(up + float(bias[base + 2 * p + 1]), -SWIGLU_LIMIT, SWIGLU_LIMIT);
    hidden[slot * I + first + p] = T(gate / (1.0f + exp(-SWIGLU_ALPHA * gate)) * (up + 1.0f));
  }
}

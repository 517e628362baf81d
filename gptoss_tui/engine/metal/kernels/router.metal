// RMSNorm and the scores of all experts. The first threadgroup also writes what the experts get.
// x, scale [H]; weight float32 [E, H], bias float32 [E]. Out: t [H], scores [E].
SHARED float4 wide[H / 4];
SHARED float sums[SIMDS];
const uint lane = thread_index_in_simdgroup;
const uint simd_index = simdgroup_index_in_threadgroup;
const uint index = thread_position_in_threadgroup.x;
normed<float, H>(x, scale, wide, sums, index, lane, simd_index);
if (threadgroup_position_in_grid.x == 0) {
  for (uint i = index; i < H; i += THREADS) {
    t[i] = T(((threadgroup float*)wide)[i]);
  }
}
const uint expert = threadgroup_position_in_grid.x * SIMDS + simd_index;
if (expert >= E) {
  return;
}
float sum = 0.0f;
for (uint i = 4 * lane; i < H; i += 4 * LANES) {
  sum += dot(wide[i / 4], load4(weight + expert * H + i));
}
sum = simd_sum(sum);
if (lane == 0) {
  scores[expert] = sum + bias[expert];
}

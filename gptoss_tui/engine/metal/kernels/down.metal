// Adds the weighted second projections of the chosen experts to the residual stream.
// hidden [K, I]; chosen, shares [K]; words [E, H, I / 8], scales [E, H, I / 32], bias [E, H]; x [H]. Out: after [H].
const uint lane = thread_index_in_simdgroup;
const uint first = (threadgroup_position_in_grid.x * SIMDS + simdgroup_index_in_threadgroup) * ROWS;
if (first >= H) {
  return;
}
float sum[ROWS];
for (uint r = 0; r < ROWS; r++) {
  sum[r] = 0.0f;
}
for (uint n = 0; n < K; n++) {
  const uint base = chosen[n] * H;
  for (uint i = 16 * lane; i < I; i += 16 * LANES) {
    float4 values[4];
    load16(hidden + n * I + i, values);
    for (uint r = 0; r < ROWS; r++) {
      const uint row = base + min(first + r, uint(H - 1));
      const uint2 packed = *(const device uint2*)(words + row * (I / 8) + i / 8);
      sum[r] += shares[n] * packed_dot(packed, scales[row * (I / 32) + i / 32], values);
    }
  }
}
for (uint r = 0; r < ROWS; r++) {
  float total = simd_sum(sum[r]);
  if (lane == 0 && first + r < H) {
    for (uint n = 0; n < K; n++) {
      total += shares[n] * float(bias[chosen[n] * H + first + r]);
    }
    after[first + r] = x[first + r] + total;
  }
}

// The attention's output projection, added to the residual stream.
// mixed [WIDTH]; weight [H, WIDTH], bias [H]; x [H]. Out: after [H].
const uint lane = thread_index_in_simdgroup;
const uint first = (threadgroup_position_in_grid.x * SIMDS + simdgroup_index_in_threadgroup) * ROWS;
if (first >= H) {
  return;
}
float sum[ROWS];
for (uint r = 0; r < ROWS; r++) {
  sum[r] = 0.0f;
}
for (uint i = 4 * lane; i < WIDTH; i += 4 * LANES) {
  const float4 values = load4(mixed + i);
  for (uint r = 0; r < ROWS; r++) {
    sum[r] += dot(values, load4(weight + min(first + r, uint(H - 1)) * WIDTH + i));
  }
}
for (uint r = 0; r < ROWS; r++) {
  const float total = simd_sum(sum[r]);
  if (lane == 0 && first + r < H) {
    after[first + r] = x[first + r] + total + float(bias[first + r]);
  }
}

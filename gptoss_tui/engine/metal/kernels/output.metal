// Adds attention's output projection to the residual stream, and computes partial products for the router. The factor
// of RMSNorm is the same for all values, so a threadgroup can multiply its own rows without waiting for all others.
// mixed [WIDTH]; weight [H, WIDTH], bias [H]; x, scale [H]; gate float32 [E, H].
// Out: after [H]; t [H], times the scale but not the factor; parts [threadgroups, E]; squares [threadgroups].
SHARED float4 wide[SIMDS * ROWS / 4];
SHARED float square[SIMDS * ROWS];
const uint lane = thread_index_in_simdgroup;
const uint simd_index = simdgroup_index_in_threadgroup;
const uint index = thread_position_in_threadgroup.x;
const uint group = threadgroup_position_in_grid.x;
const uint start = group * SIMDS * ROWS;
const uint first = start + simd_index * ROWS;
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
  const uint row = first + r;
  if (lane == 0) {
    const float value = row < H ? x[row] + total + float(bias[row]) : 0.0f;
    const float scaled = row < H ? value * scale[row] : 0.0f;
    if (row < H) {
      after[row] = value;
      t[row] = T(scaled);
    }
    ((threadgroup float*)wide)[row - start] = scaled;
    square[row - start] = value * value;
  }
}
threadgroup_barrier(mem_flags::mem_threadgroup);
for (uint expert = index; expert < E; expert += THREADS) {
  float part = 0.0f;
  for (uint i = 0; i < SIMDS * ROWS && start + i < H; i += 4) {
    part += dot(wide[i / 4], load4(gate + expert * H + start + i));
  }
  parts[group * E + expert] = part;
}
if (index == 0) {
  float part = 0.0f;
  for (uint i = 0; i < SIMDS * ROWS; i++) {
    part += square[i];
  }
  squares[group] = part;
}

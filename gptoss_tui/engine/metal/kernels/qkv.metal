// RMSNorm, the q, k and v projections, and rotary positions of one token.
// x, scale [H]; weight [(HEADS) * D, H], bias; cosine, sine [D / 2]. Out: query [Q * D], pair [2 * K * D].
// A simdgroup computes PAIRS pairs of rows half a head apart, which are rotated together.
SHARED float4 t[H / 4];
SHARED float sums[SIMDS];
const uint lane = thread_index_in_simdgroup;
const uint simd_index = simdgroup_index_in_threadgroup;
normed<T, H>(x, scale, t, sums, thread_position_in_threadgroup.x, lane, simd_index);

const uint half_dim = D / 2;
const uint count = HEADS * half_dim;
const uint first = (threadgroup_position_in_grid.x * SIMDS + simd_index) * PAIRS;
if (first >= count) {
  return;
}
uint rows[PAIRS];
float sum[2 * PAIRS];
for (uint p = 0; p < PAIRS; p++) {
  const uint at = min(first + p, count - 1);
  rows[p] = at / half_dim * D + at % half_dim;
  sum[2 * p] = 0.0f;
  sum[2 * p + 1] = 0.0f;
}
for (uint i = 4 * lane; i < H; i += 4 * LANES) {
  const float4 values = t[i / 4];
  for (uint p = 0; p < PAIRS; p++) {
    sum[2 * p] += dot(values, load4(weight + rows[p] * H + i));
    sum[2 * p + 1] += dot(values, load4(weight + (rows[p] + half_dim) * H + i));
  }
}
for (uint p = 0; p < PAIRS; p++) {
  const uint row = rows[p];
  // Rounded as the result of a separate product would be.
  const float a = float(T(simd_sum(sum[2 * p]) + float(bias[row])));
  const float b = float(T(simd_sum(sum[2 * p + 1]) + float(bias[row + half_dim])));
  if (lane == 0 && first + p < count) {
    const uint d = row % D;
    const bool turns = row < (Q + K) * D;
    const float c = turns ? cosine[d] : 1.0f;
    const float s = turns ? sine[d] : 0.0f;
    if (row < Q * D) {
      query[row] = T(a * c - b * s);
      query[row + half_dim] = T(b * c + a * s);
    } else {
      pair[row - Q * D] = T(a * c - b * s);
      pair[row - Q * D + half_dim] = T(b * c + a * s);
    }
  }
}

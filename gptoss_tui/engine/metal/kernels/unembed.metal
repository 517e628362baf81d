// The last RMSNorm, the logits, and each threadgroup's best score and part of the softmax.
// x, scale [H]; weight [V, H]; allowed [V]; key [2]; coldness [1]: one over the temperature, 0 for the arg-max.
// Out: logits [V]; best, best_id, largest, total [threadgroups].
// A threadgroup computes LOOPS times SIMDS * ROWS rows, so that the norm is a small part of its work.
SHARED float4 t[H / 4];
SHARED float sums[SIMDS];
SHARED float scores[SIMDS];
SHARED uint ids[SIMDS];
SHARED float tops[SIMDS];
SHARED float totals[SIMDS];
const uint lane = thread_index_in_simdgroup;
const uint simd_index = simdgroup_index_in_threadgroup;
const uint group = threadgroup_position_in_grid.x;
normed<T, H>(x, scale, t, sums, thread_position_in_threadgroup.x, lane, simd_index);

float best_score = -INFINITY;
uint id = V;
float top = -INFINITY;
float mass = 0.0f;
for (uint n = 0; n < LOOPS; n++) {
  const uint first = ((group * LOOPS + n) * SIMDS + simd_index) * ROWS;
  if (first >= V) {
    break;
  }
  float sum[ROWS];
  for (uint r = 0; r < ROWS; r++) {
    sum[r] = 0.0f;
  }
  for (uint i = 4 * lane; i < H; i += 4 * LANES) {
    const float4 values = t[i / 4];
    for (uint r = 0; r < ROWS; r++) {
      sum[r] += dot(values, load4(weight + min(first + r, uint(V - 1)) * H + i));
    }
  }
  for (uint r = 0; r < ROWS; r++) {
    const float logit = simd_sum(sum[r]);
    const uint row = first + r;
    if (row < V) {
      const float higher = max(top, logit);
      mass = mass * exp(top - higher) + exp(logit - higher);
      top = higher;
      float score = allowed[row] ? logit : -INFINITY;
      if (coldness[0] > 0.0f) {
        score = score * coldness[0] + gumbel(row, key[0], key[1]);
      }
      if (score > best_score) {
        best_score = score;
        id = row;
      }
      if (lane == 0) {
        logits[row] = logit;
      }
    }
  }
}
if (lane == 0) {
  scores[simd_index] = best_score;
  ids[simd_index] = id;
  tops[simd_index] = top;
  totals[simd_index] = mass;
}
threadgroup_barrier(mem_flags::mem_threadgroup);
if (thread_position_in_threadgroup.x == 0) {
  for (uint i = 1; i < SIMDS; i++) {
    join(best_score, id, top, mass, scores[i], ids[i], tops[i], totals[i]);
  }
  best[group] = best_score;
  best_id[group] = id;
  largest[group] = top;
  total[group] = mass;
}

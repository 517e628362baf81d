// The best candidate of all threadgroups of `unembed`, and its log-probability. Runs as one threadgroup.
// best, best_id, largest, total [G]; logits [V]. Out: id [1], logprob [1].
SHARED float scores[THREADS];
SHARED uint ids[THREADS];
SHARED float tops[THREADS];
SHARED float totals[THREADS];
const uint index = thread_position_in_threadgroup.x;
float best_score = -INFINITY;
uint found = V;
float top = -INFINITY;
float mass = 0.0f;
for (uint i = index; i < G; i += THREADS) {
  join(best_score, found, top, mass, best[i], best_id[i], largest[i], total[i]);
}
scores[index] = best_score;
ids[index] = found;
tops[index] = top;
totals[index] = mass;
for (uint step = THREADS / 2; step > 0; step /= 2) {
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (index < step) {
    const uint other = index + step;
    join(best_score, found, top, mass, scores[other], ids[other], tops[other], totals[other]);
    scores[index] = best_score;
    ids[index] = found;
    tops[index] = top;
    totals[index] = mass;
  }
}
if (index == 0) {
  // With NaN logits, no candidate was found: comparisons with NaN are false.
  id[0] = found < V ? found : 0;
  logprob[0] = found < V ? logits[found] - top - log(mass) : NAN;
}

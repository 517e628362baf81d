// Random numbers and running softmax sums, for `unembed` and `draw`. The noise is the same as in `sampling.py`.

inline uint hashed(uint x) {
  x = (x ^ (x >> 16)) * 0x7FEB352Du;
  x = (x ^ (x >> 15)) * 0x846CA68Bu;
  return x ^ (x >> 16);
}

inline float gumbel(uint id, uint first_key, uint second_key) {
  const float chance = (float(hashed(hashed(id + first_key) ^ second_key)) + 0.5f) * 2.3283064365386963e-10f;
  const float exponential = chance < 1e-3f ? chance + 0.5f * chance * chance : -log(1.0f - chance);
  return -log(exponential);
}

// Merges another part into a best score with its id, and into a sum of exponentials relative to the largest exponent.
inline void join(
    thread float& score,
    thread uint& id,
    thread float& top,
    thread float& mass,
    float other_score,
    uint other_id,
    float other_top,
    float other_mass) {
  if (other_score > score || (other_score == score && other_id < id)) {
    score = other_score;
    id = other_id;
  }
  if (other_mass > 0.0f || other_mass != other_mass) {
    const float higher = max(top, other_top);
    mass = mass * exp(top - higher) + other_mass * exp(other_top - higher);
    top = higher;
  }
}

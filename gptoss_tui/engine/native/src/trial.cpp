// Single prefill kernels, for tests and measurements.
#include <time.h>

#include "model.h"
#include "pool.h"

namespace native {
namespace {

const PrefillKernels* kernels_for(const gt_trial& trial) {
  const Precision precision = trial.exact != 0 ? Precision::kExact : Precision::kFast;
  const auto isa = static_cast<Isa>(trial.isa);
  if (trial.written != 0) return isa_runs(Isa::kAvx512Bf16) ? written_kernels(precision) : nullptr;
  return isa_available(isa) ? prefill_kernels(isa, precision) : nullptr;
}

// A single thread is timed by CPU time, which is less disturbed by other load on the machine.
double now(bool alone) {
  timespec time;
  clock_gettime(alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Returns the seconds of the fastest of `repeat` runs of `work(pool, kernels)`.
template <typename Work>
double fastest(const gt_trial& trial, Work work) {
  const PrefillKernels* kernels = kernels_for(trial);
  Pool* pool = kernels == nullptr ? nullptr : pool_new(trial.threads, false);
  if (pool == nullptr) return -1;
  double best = -1;
  for (int32_t i = 0; i < trial.repeat; i++) {
    const double start = now(trial.threads == 1);
    work(pool, *kernels);
    const double seconds = now(trial.threads == 1) - start;
    if (best < 0 || seconds < best) best = seconds;
  }
  pool_free(pool);
  return best;
}

}  // namespace
}  // namespace native

double gt_try_product(const gt_trial* trial, const gt_matrix* matrix, const int32_t* first, const int32_t* token,
                      int32_t tokens, const float* x, int64_t x_stride, float* y, int64_t y_stride, float limit) {
  using namespace native;
  const Matrix w = matrix_of(*matrix);
  const int32_t pairs = first == nullptr ? tokens : first[w.experts];
  const Routing routing{tokens, w.experts, tokens == 0 ? 0 : pairs / tokens, first, token};
  return fastest(*trial, [&](Pool* pool, const PrefillKernels& kernels) {
    if (first == nullptr) {
      kernels.dense(pool, w, x, x_stride, tokens, y, y_stride);
    } else if (limit > 0) {
      kernels.experts_up(pool, w, routing, x, x_stride, y, y_stride, limit);
    } else {
      kernels.experts_down(pool, w, routing, x, x_stride, y, y_stride);
    }
  });
}

double gt_try_attention(const gt_trial* trial, const gt_chunk* chunk) {
  using namespace native;
  const ChunkAttention c{chunk->keys,  chunk->values,  chunk->head_stride, chunk->wide != 0, chunk->past,
                         chunk->window, chunk->tokens,  chunk->heads,       chunk->kv_heads,  chunk->dim,
                         chunk->sinks,  chunk->query,   chunk->query_stride, chunk->out,      chunk->out_stride};
  if (!attends(c)) return -1;
  return fastest(*trial, [&](Pool* pool, const PrefillKernels& kernels) { kernels.attend(pool, c); });
}

double gt_try_peak(const gt_trial* trial, int32_t kind) {
  using namespace native;
  constexpr int64_t kSteps = 1 << 20;
  if (trial->written != 0) return -1;
  double operations = 0;
  const double seconds = fastest(*trial, [&](Pool* pool, const PrefillKernels& kernels) {
    run_on_all(pool, [&](int thread, int threads) {
      const auto done = static_cast<double>(kernels.peak(static_cast<Kind>(kind), kSteps));
      if (thread == 0) operations = done * threads;
    });
  });
  return seconds > 0 ? operations / seconds : -1;
}

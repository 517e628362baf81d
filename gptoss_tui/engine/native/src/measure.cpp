// For tests and measurements: a single product, and the times of products and of plain reading.
#include <atomic>
#include <chrono>

#include "model.h"
#include "pool.h"

namespace {

// Runs `work(thread, threads)` on all threads; returns the seconds.
template <typename Work>
double timed(native::Pool* pool, Work work) {
  const auto start = std::chrono::steady_clock::now();
  native::run_on_all(pool, work);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int32_t gt_product(gt_model* model, const gt_matrix* matrix, int32_t expert, const float* x, float* y) try {
  const native::Matrix w = native::matrix_of(*matrix);
  native::Activations a = native::activations(*model, 0, native::kValuesSlot, const_cast<float*>(x), w.columns);
  model->kernels->quantize(a, w.columns);
  native::product(*model, w, expert, {0, w.rows / native::kGroup}, a, y);
  return 0;
} catch (...) {
  return GT_NO_MEMORY;
}

double gt_time_product(gt_model* model, const gt_matrix* matrix, const float* x, float* y, int32_t repeat) {
  const native::Matrix w = native::matrix_of(*matrix);
  return timed(model->pool, [&](int thread, int threads) {
    const native::Activations a =
        native::activations(*model, thread, native::kValuesSlot, const_cast<float*>(x), w.columns);
    model->kernels->quantize(a, w.columns);
    const native::Span mine = native::span(w.rows / native::kGroup, thread, threads, 4);
    for (int32_t i = 0; i < repeat; i++) {
      native::product(*model, w, i % w.experts, mine, a, y + mine.begin * native::kGroup);
      native::pool_barrier(model->pool);
    }
  });
}

double gt_time_read(gt_model* model, const void* data, int64_t bytes) {
  std::atomic<int32_t> sum{0};
  return timed(model->pool, [&](int thread, int threads) {
    const native::Span mine = native::span(bytes, thread, threads, 4096);
    sum += model->kernels->read(static_cast<const uint8_t*>(data) + mine.begin, mine.end - mine.begin);
  });
}

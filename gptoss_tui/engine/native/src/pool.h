// Making and ending a thread pool; native.h says how it is used.
#pragma once

#include "native.h"

namespace native {

// With `pin` each thread beside the caller stays on one processor, where there are enough. Null where the system does not
// give so many threads.
Pool* pool_new(int threads, bool pin);
void pool_free(Pool* pool);

// Runs `work(thread, threads)` on all threads.
template <typename Work>
static void run_on_all(Pool* pool, Work work) {
  pool_run(pool, [](void* context, int thread, int threads) { (*static_cast<Work*>(context))(thread, threads); }, &work);
}

}  // namespace native

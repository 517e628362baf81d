// Creating and destroying a thread pool; native.h has the functions to use it.
#pragma once

#include "native.h"

namespace native {

// With `pin`, each thread but the caller's is bound to one processor, if there are enough. Returns null if the system
// does not allow that many threads.
Pool* pool_new(int threads, bool pin);
void pool_free(Pool* pool);

// Runs `work(thread, threads)` on all threads.
template <typename Work>
static void run_on_all(Pool* pool, Work work) {
  pool_run(pool, [](void* context, int thread, int threads) { (*static_cast<Work*>(context))(thread, threads); }, &work);
}

}  // namespace native

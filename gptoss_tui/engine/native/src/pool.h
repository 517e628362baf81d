// Making and ending a thread pool; native.h says how it is used.
#pragma once

#include "native.h"

namespace native {

// With `pin` each thread beside the caller stays on one processor, where there are enough.
Pool* pool_new(int threads, bool pin);
void pool_free(Pool* pool);

}  // namespace native

// The thread pool: permanent threads, each on a processor of its own, which spin for a moment and then sleep.
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "pool.h"

#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#endif

namespace native {

namespace {

// A wait begins with `kSpins` short spins, about as long as a front takes between two tokens of a small model. After
// that the thread yields its processor, which the thread it waits for may need.
constexpr int kSpins = 20000;
constexpr int kSpinsBeforeYield = 4000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

#if defined(__linux__)
// The processors that this process may use, in order.
std::vector<int> processors() {
  std::vector<int> found;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return found;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
  }
  return found;
}

void stay_on(pthread_t thread, int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  pthread_setaffinity_np(thread, sizeof set, &set);
}
#endif

// The number of forks between the process that loaded this library and this one.
std::atomic<int> forks{0};

int count_forks() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  (void)registered;
  return forks.load(std::memory_order_relaxed);
}

struct Buffer {
  void* data = nullptr;
  size_t bytes = 0;
};

}  // namespace

class Pool {
 public:
  Pool(int threads, bool pin) : threads_(threads), buffers_(static_cast<size_t>(threads) * kSlots) {
    workers_.reserve(static_cast<size_t>(threads));
    try {
      for (int thread = 1; thread < threads; thread++) workers_.emplace_back([this, thread] { work(thread); });
    } catch (...) {
      end_workers();
      throw;
    }
#if defined(__linux__)
    const std::vector<int> cpus = processors();
    if (!pin || static_cast<int>(cpus.size()) < threads) return;
    // The caller's thread is not ours to bind: the workers take the last processors, and the first stay free for it.
    const size_t first = cpus.size() - static_cast<size_t>(threads);
    for (int thread = 1; thread < threads; thread++) {
      stay_on(workers_[thread - 1].native_handle(), cpus[first + static_cast<size_t>(thread)]);
    }
#else
    (void)pin;
#endif
  }

  ~Pool() {
    end_workers();
    for (Buffer& buffer : buffers_) std::free(buffer.data);
  }

  int threads() const { return threads_; }

  // A forked process has only the calling thread; the state that the others left behind is unknown.
  bool forked() const { return count_forks() != forks_; }

  void run(Job job, void* context) {
    if (forked()) threads_ = 1;
    if (threads_ == 1) {
      job(context, 0, 1);
      return;
    }
    job_ = job;
    context_ = context;
    running_.store(threads_ - 1, std::memory_order_relaxed);
    started_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
      // The lock makes sure that a thread about to sleep either sees the new number or gets the notification.
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_.notify_all();
    }
    job(context, 0, threads_);
    for (int spins = 0; running_.load(std::memory_order_acquire) != 0; spins++) pause(spins);
  }

  void barrier() {
    if (threads_ == 1) return;
    const uint32_t round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; spins++) pause(spins);
  }

  void* scratch(int thread, int slot, size_t bytes) {
    Buffer& buffer = buffers_[static_cast<size_t>(thread) * kSlots + static_cast<size_t>(slot)];
    if (buffer.bytes < bytes) {
      std::free(buffer.data);
      buffer.bytes = static_cast<size_t>(round_up(static_cast<int64_t>(bytes), 4096));
      buffer.data = std::aligned_alloc(4096, buffer.bytes);
      if (buffer.data == nullptr) std::abort();  // a thread cannot leave a job in which others wait for it
    }
    return buffer.data;
  }

 private:
  static constexpr size_t kSlots = kScratchSlots;

  void end_workers() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = nullptr;
      started_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  static void pause(int spins) {
    if (spins < kSpinsBeforeYield) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }

  void work(int thread) {
    uint32_t seen = 0;
    while (true) {
      seen = next(seen);
      if (job_ == nullptr) return;
      job_(context_, thread, threads_);
      running_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  // Waits until the number of started jobs differs from `seen`, and returns it.
  uint32_t next(uint32_t seen) {
    for (int spins = 0; spins < kSpins; spins++) {
      const uint32_t now = started_.load(std::memory_order_acquire);
      if (now != seen) return now;
      relax();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    wake_.wait(lock, [&] { return started_.load(std::memory_order_seq_cst) != seen; });
    sleeping_.fetch_sub(1, std::memory_order_seq_cst);
    return started_.load(std::memory_order_acquire);
  }

  int threads_;
  const int forks_ = count_forks();
  std::vector<std::thread> workers_;
  std::vector<Buffer> buffers_;
  Job job_ = nullptr;
  void* context_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  alignas(64) std::atomic<uint32_t> started_{0};
  alignas(64) std::atomic<int> sleeping_{0};
  alignas(64) std::atomic<int> running_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
};

Pool* pool_new(int threads, bool pin) try {
  return threads < 1 ? nullptr : new Pool(threads, pin);
} catch (...) {
  return nullptr;
}

// In a forked process there are no threads to wait for; its memory is freed when it ends.
void pool_free(Pool* pool) {
  if (!pool->forked()) delete pool;
}

int pool_threads(const Pool* pool) { return pool->threads(); }
void pool_run(Pool* pool, Job job, void* context) { pool->run(job, context); }
void pool_barrier(Pool* pool) { pool->barrier(); }
void* pool_scratch(Pool* pool, int thread, int slot, size_t bytes) { return pool->scratch(thread, slot, bytes); }

}  // namespace native

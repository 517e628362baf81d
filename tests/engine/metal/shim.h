// Enough of the Metal Shading Language in C++ to run the engine's kernels on a CPU, a threadgroup after the other.
// A thread is a fiber. Fibers switch only where threads wait for each other: at a barrier, and in sums and the like
// over a simdgroup. Where some of them never arrive, `emulate` says so.

// macOS gives fibers to those only who ask for X/Open.
#ifdef __APPLE__
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE
#endif

#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

// Not from math.h, whose functions of float are overloads of the kernels' own.
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

namespace emulation {

const int THREAD_COUNT = 256, LANE_COUNT = 32, STACK = 128 * 1024;

struct Position {
  unsigned x, y, z;
};

struct Fiber {
  ucontext_t context;  // where it begins; from then on it goes by jumps, which need no system call
  jmp_buf place;
  bool started, done;
  unsigned index;
};

struct Meeting {
  int arrived;
  unsigned generation;
};

static Fiber fibers[THREAD_COUNT];
static char stacks[THREAD_COUNT][STACK];
static jmp_buf scheduler;
static Fiber* now;
static Position group;
static Meeting everybody, simdgroups[THREAD_COUNT / LANE_COUNT];
static uint64_t slots[THREAD_COUNT];
static unsigned long progress;
static void (*body)();

static void resume(Fiber& fiber) {
  now = &fiber;
  if (_setjmp(scheduler) == 0) {
    if (fiber.started) {
      _longjmp(fiber.place, 1);
    }
    fiber.started = true;
    setcontext(&fiber.context);
  }
}

static void leave() {
  if (_setjmp(now->place) == 0) {
    _longjmp(scheduler, 1);
  }
}

static void meet(Meeting& meeting, int count) {
  const unsigned generation = meeting.generation;
  progress++;
  if (++meeting.arrived == count) {
    meeting.arrived = 0;
    meeting.generation++;
    return;
  }
  while (meeting.generation == generation) {
    leave();
  }
}

static void start() {
  for (;;) {
    body();
    now->done = true;
    progress++;
    leave();
  }
}

static void create() {
  for (int i = 0; i < THREAD_COUNT; i++) {
    Fiber& fiber = fibers[i];
    fiber.started = false;
    fiber.index = i;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks[i];
    fiber.context.uc_stack.ss_size = STACK;
    makecontext(&fiber.context, start, 0);
  }
}

// Runs one threadgroup, its threads in order or the other way round. False when some wait for those that are done.
static bool run_group(bool backwards) {
  for (Fiber& fiber : fibers) {
    fiber.done = false;
  }
  for (int left = THREAD_COUNT; left > 0;) {
    const unsigned long before = progress;
    left = 0;
    for (int i = 0; i < THREAD_COUNT; i++) {
      Fiber& fiber = fibers[backwards ? THREAD_COUNT - 1 - i : i];
      if (!fiber.done) {
        resume(fiber);
        left += !fiber.done;
      }
    }
    if (left > 0 && progress == before) {
      return false;
    }
  }
  return true;
}

static bool emulate(void (*kernel)(), int across, int down, bool backwards) {
  body = kernel;
  create();
  everybody = Meeting{};
  memset(simdgroups, 0, sizeof simdgroups);
  for (int y = 0; y < down; y++) {
    for (int x = 0; x < across; x++) {
      group = Position{unsigned(x), unsigned(y), 0};
      if (!run_group(backwards)) {
        return false;
      }
    }
  }
  return true;
}

template <typename T, typename F>
static T over_simdgroup(T value, F combine) {
  const unsigned first = now->index / LANE_COUNT * LANE_COUNT;
  Meeting& meeting = simdgroups[now->index / LANE_COUNT];
  memcpy(&slots[now->index], &value, sizeof value);
  meet(meeting, LANE_COUNT);
  T result, other;
  memcpy(&result, &slots[first], sizeof result);
  for (int i = 1; i < LANE_COUNT; i++) {
    memcpy(&other, &slots[first + i], sizeof other);
    result = combine(result, other);
  }
  meet(meeting, LANE_COUNT);
  return result;
}

}  // namespace emulation

namespace metal {

typedef unsigned int uint;

struct float4 {
  float x, y, z, w;
  float4() {}
  float4(float a, float b, float c, float d) : x(a), y(b), z(c), w(d) {}
  float operator[](int i) const { return (&x)[i]; }
};

struct uint2 {
  uint x, y;
};

struct half2 {
  _Float16 x, y;
};

enum class mem_flags { mem_threadgroup };

template <typename To, typename From>
inline To as_type(From value) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To result;
  memcpy(&result, &value, sizeof result);
  return result;
}

inline float dot(float4 a, float4 b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }
inline float exp(float x) { return __builtin_expf(x); }
inline float log(float x) { return __builtin_logf(x); }
inline float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float min(float a, float b) { return __builtin_fminf(a, b); }
inline float max(float a, float b) { return __builtin_fmaxf(a, b); }
inline uint min(uint a, uint b) { return a < b ? a : b; }
inline float clamp(float x, float low, float high) { return __builtin_fminf(__builtin_fmaxf(x, low), high); }

inline float simd_sum(float x) {
  return emulation::over_simdgroup(x, [](float a, float b) { return a + b; });
}
inline float simd_max(float x) {
  return emulation::over_simdgroup(x, [](float a, float b) { return __builtin_fmaxf(a, b); });
}
inline uint simd_min(uint x) {
  return emulation::over_simdgroup(x, [](uint a, uint b) { return a < b ? a : b; });
}
inline void threadgroup_barrier(mem_flags) { emulation::meet(emulation::everybody, emulation::THREAD_COUNT); }

}  // namespace metal

struct bfloat16_t {
  uint16_t bits;
  bfloat16_t() {}
  explicit bfloat16_t(float value) {
    const uint32_t word = metal::as_type<uint32_t>(value);
    bits = value != value ? 0x7FC0 : uint16_t((word + 0x7FFF + (word >> 16 & 1)) >> 16);
  }
  operator float() const { return metal::as_type<float>(uint32_t(bits) << 16); }
};

// Every thread of a threadgroup sees the same variable, as there is one threadgroup at a time.
#define SHARED static
#define device
#define constant
#define thread
#define threadgroup
#define thread_index_in_simdgroup (emulation::now->index % emulation::LANE_COUNT)
#define simdgroup_index_in_threadgroup (emulation::now->index / emulation::LANE_COUNT)
#define thread_position_in_threadgroup (emulation::Position{emulation::now->index, 0, 0})
#define threadgroup_position_in_grid (emulation::group)

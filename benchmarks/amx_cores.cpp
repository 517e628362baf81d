// How fast each core runs AMX at this moment: `g++ -std=c++17 -O2 benchmarks/amx_cores.cpp -o amx_cores && ./amx_cores`.
//
// A step is four products of tiles and the four loads that they need, from the first-level cache: at least 64 cycles. On
// a virtual machine, a core may share its tile unit and its cache with other programs of the host, which are not seen
// from inside; a step then takes several times as long. Prints nanoseconds per step and the core, the fastest first.
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

constexpr int kBlocks = 10, kTile = 1024;
constexpr double kSeconds = 0.05;

struct alignas(64) Configuration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

template <int T>
void load(const uint8_t* from) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(int64_t{64}), "i"(T) : "memory");
}

template <int C, int A, int B>
void dot() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

// Returns the nanoseconds of a step on this core.
double step_time(const uint8_t* a, const uint8_t* b) {
  const Configuration configuration;
  asm volatile("ldtilecfg %0" : : "m"(configuration) : "memory");
  const auto start = std::chrono::steady_clock::now();
  double passed = 0;
  int64_t steps = 0;
  while (passed < kSeconds) {
    for (int block = 0; block < kBlocks; block++, steps++) {
      load<6>(b + block * kTile);
      load<7>(b + (kBlocks + block) * kTile);
      load<4>(a + block * kTile);
      dot<0, 4, 6>();
      dot<1, 4, 7>();
      load<5>(a + (kBlocks + block) * kTile);
      dot<2, 5, 6>();
      dot<3, 5, 7>();
    }
    passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  asm volatile("tilerelease" : : : "memory");
  return passed / static_cast<double>(steps) * 1e9;
}

}  // namespace

int main() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) {
    std::fprintf(stderr, "this machine has no AMX, or does not grant it\n");
    return 1;
  }
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  alignas(64) static uint8_t memory[4 * kBlocks * kTile];
  std::memset(memory, 0x3c, sizeof memory);
  std::vector<std::pair<double, int>> times;
  for (int core = 0; core < CPU_SETSIZE; core++) {
    if (!CPU_ISSET(core, &allowed)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) continue;
    times.emplace_back(step_time(memory, memory + 2 * kBlocks * kTile), core);
  }
  std::sort(times.begin(), times.end());
  for (const auto& [time, core] : times) std::printf("%.1f ns, core %d\n", time, core);
}

// The instruction sets that this library was built with and that this processor supports.
#include "abi.h"
#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace native {

#ifndef NATIVE_AVX2
const Kernels* const kAvx2Kernels = nullptr;
#endif
#ifndef NATIVE_AVX512
const Kernels* const kAvx512Kernels = nullptr;
#endif
#ifndef NATIVE_DOTPROD
const Kernels* const kNeonKernels = nullptr;
#endif

namespace {

#if defined(__linux__) && defined(__x86_64__)
// On Linux, a process has to request the use of the tile registers; threads created later inherit the permission.
bool ask_for_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

}  // namespace

bool isa_runs(Isa isa) {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool has_leaf = __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0;
  const bool bf16 = avx512 && has_leaf && (eax >> 5 & 1) != 0;
  switch (isa) {
    case Isa::kScalar: return true;
    case Isa::kAvx2: return avx2;
    case Isa::kAvx512: return avx512;
    case Isa::kAvx512Bf16: return bf16;
    case Isa::kAmx: {
#if defined(__linux__)
      constexpr unsigned kBf16Tiles = 1u << 22, kTiles = 1u << 24, kInt8Tiles = 1u << 25;
      if (!bf16 || __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
      const unsigned wanted = kBf16Tiles | kTiles | kInt8Tiles;
      return (edx & wanted) == wanted && ask_for_tiles();
#else
      return false;
#endif
    }
    default: return false;
  }
#elif defined(__aarch64__)
  switch (isa) {
    case Isa::kScalar: return true;
#if defined(__linux__)
    case Isa::kNeon: return (getauxval(AT_HWCAP) >> 20 & 1) != 0;       // ASIMDDP
    case Isa::kNeonI8mm: return isa_runs(Isa::kNeon) && (getauxval(AT_HWCAP2) >> 13 & 1) != 0;  // I8MM
#elif defined(__APPLE__)
    case Isa::kNeon: return true;  // since the first M
    case Isa::kNeonI8mm: {         // since the second
      int has = 0;
      size_t size = sizeof has;
      return sysctlbyname("hw.optional.arm.FEAT_I8MM", &has, &size, nullptr, 0) == 0 && has != 0;
    }
#endif
    default: return false;
  }
#else
  return isa == Isa::kScalar;
#endif
}

const Kernels* kernels_of(Isa isa) {
  switch (isa) {
    case Isa::kScalar: return kScalarKernels;
    case Isa::kAvx2: return kAvx2Kernels;
    case Isa::kAvx512: return kAvx512Kernels;
#if defined(NATIVE_BF16)
    case Isa::kAvx512Bf16: return kAvx512Kernels;
#endif
#if defined(NATIVE_AMX)
    case Isa::kAmx: return kAvx512Kernels;
#endif
    case Isa::kNeon: return kNeonKernels;
#if defined(NATIVE_I8MM)
    case Isa::kNeonI8mm: return kNeonKernels;
#endif
    default: return nullptr;
  }
}

bool isa_available(Isa isa) { return kernels_of(isa) != nullptr && isa_runs(isa); }

}  // namespace native

uint32_t gt_instruction_sets() {
  uint32_t sets = 0;
  for (int32_t isa = 0; isa <= static_cast<int32_t>(native::Isa::kNeonI8mm); isa++) {
    if (native::isa_available(static_cast<native::Isa>(isa))) sets |= 1u << isa;
  }
  return sets;
}

int32_t gt_abi() { return GT_ABI; }

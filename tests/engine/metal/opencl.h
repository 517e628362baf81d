// Names of the Metal Shading Language in C++ for OpenCL, whose address spaces are Metal's and which clang knows.
// Only for checking types: nothing here has a body.

#define device __global
#define threadgroup __local
#define constant __constant
#define thread __private
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#pragma OPENCL EXTENSION cl_khr_fp16 : enable

typedef unsigned int uint;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef float float4 __attribute__((ext_vector_type(4)));
typedef uint uint2 __attribute__((ext_vector_type(2)));
typedef uint uint3 __attribute__((ext_vector_type(3)));
typedef half half2 __attribute__((ext_vector_type(2)));
typedef half bfloat16_t;
#define float4(x, y, z, w) ((float4)(x, y, z, w))

namespace metal {

enum class mem_flags { mem_threadgroup };

template <typename To, typename From>
To as_type(From value);
float simd_sum(float value);
float simd_max(float value);
uint simd_min(uint value);
void threadgroup_barrier(mem_flags flags);

}  // namespace metal

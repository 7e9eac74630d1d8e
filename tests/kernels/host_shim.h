// Enough of CUDA C++ to run on the CPU a kernel in which one thread owns one item.
#include <cmath>
#include <cstring>
using std::exp, std::rint;
#define __global__
#define __device__
#define __forceinline__ inline
struct Index { unsigned x = 0, y = 0, z = 0; };
static thread_local Index blockIdx, threadIdx, blockDim{1, 1, 1}, gridDim{1, 1, 1};

template <class T> static inline void sincospi(T a, T* s, T* c) {
    *s = std::sin(T(M_PI) * a), *c = std::cos(T(M_PI) * a);
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
static inline int __float_as_int(float a) { int b; std::memcpy(&b, &a, 4); return b; }
static inline float __int_as_float(int a) { float b; std::memcpy(&b, &a, 4); return b; }

template <class F> void for_each_item(unsigned num_items, F kernel) {
    for (unsigned i = 0; i < num_items; ++i) blockIdx.x = i, kernel();
}

// Enough of CUDA C++ to run kernels on the CPU: in those without warp functions one thread owns one
// item; in the others LANES take turns, each running until all wait at the same place: those of a
// warp, or of a thread block.
#include <ucontext.h>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
using std::exp, std::rint;
#ifndef LANES
#define LANES 32
#endif
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
struct Index { unsigned x = 0, y = 0, z = 0; };
static Index blockIdx, threadIdx, blockDim{1, 1, 1}, gridDim{1, 1, 1};

template <class T> static inline void sincospi(T a, T* s, T* c) {
    *s = std::sin(T(M_PI) * a), *c = std::cos(T(M_PI) * a);
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
static inline int __float_as_int(float a) { int b; std::memcpy(&b, &a, 4); return b; }
static inline float __int_as_float(int a) { float b; std::memcpy(&b, &a, 4); return b; }

template <class F> void for_each_item(unsigned num_items, F kernel) {
    for (unsigned i = 0; i < num_items; ++i) blockIdx.x = i, kernel();
}

struct Warp {
    ucontext_t scheduler, lanes[LANES];
    std::vector<char> stacks = std::vector<char>(LANES << 18);
    bool done[LANES];
    int place[LANES], waits[LANES];
    double passed[2][LANES];

    void wait(int line) {
        int lane = threadIdx.x;
        place[lane] = line, ++waits[lane];
        swapcontext(&lanes[lane], &scheduler);
    }
    // The others' values are read while none of them can be at the next exchange but one.
    template <class T> T exchange(T value, int from, int line) {
        int page = waits[threadIdx.x] & 1;
        std::memcpy(&passed[page][threadIdx.x], &value, sizeof(T));
        wait(line);
        std::memcpy(&value, &passed[page][from], sizeof(T));
        return value;
    }
    unsigned vote(bool mine, int line) {
        int page = waits[threadIdx.x] & 1;
        unsigned all = 0;
        exchange(double(mine), 0, line);
        for (int i = 0; i < 32; ++i) all |= unsigned(passed[page][i] != 0) << i;
        return all;
    }
};
static Warp warp;
static void (*body)(void*);
static void* given;
static void lane_of_warp() {
    body(given);
    warp.done[threadIdx.x] = true;
}
template <class T> static T shuffle(unsigned, T value, int from, int line) {
    return warp.exchange(value, from, line);
}
static inline int within(int place, int width) {
    return (threadIdx.x & ~(width - 1)) | (place & (width - 1));
}
static inline int shifted(int by, int width) {
    int place = (threadIdx.x & (width - 1)) + by;
    return place < 0 || place >= width ? threadIdx.x : threadIdx.x + by;
}
#define __ballot_sync(mask, mine) warp.vote(mine, __LINE__)
#define __ffs(bits) __builtin_ffs(bits)
#define __syncwarp() warp.wait(__LINE__)
#define __syncthreads() warp.wait(__LINE__)
#define __shfl_sync(mask, value, from, width) shuffle(mask, value, within(from, width), __LINE__)
#define __shfl_xor_sync(mask, value, by) shuffle(mask, value, threadIdx.x ^ (by), __LINE__)
#define __shfl_up_sync(mask, value, by, width) \
    shuffle(mask, value, shifted(-int(by), width), __LINE__)
#define __shfl_down_sync(mask, value, by, width) \
    shuffle(mask, value, shifted(int(by), width), __LINE__)

// Lanes run forwards and backwards in turn, so that what lacks a barrier goes wrong.
template <class F> void for_each_warp(unsigned num_items, F kernel) {
    blockDim.x = LANES;
    body = [](void* f) { (*static_cast<F*>(f))(); }, given = &kernel;
    for (unsigned block = 0; block < (num_items + LANES - 1) / LANES; ++block) {
        blockIdx.x = block;
        for (int i = 0; i < LANES; ++i) {
            warp.done[i] = false, warp.place[i] = 0, warp.waits[i] = 0;
            getcontext(&warp.lanes[i]);
            warp.lanes[i].uc_stack.ss_sp = warp.stacks.data() + (i << 18);
            warp.lanes[i].uc_stack.ss_size = 1 << 18;
            warp.lanes[i].uc_link = &warp.scheduler;
            makecontext(&warp.lanes[i], lane_of_warp, 0);
        }
        for (int round = 0; !warp.done[0]; ++round) {
            for (int n = 0; n < LANES; ++n) {
                int i = round & 1 ? LANES - 1 - n : n;
                threadIdx.x = i;
                swapcontext(&warp.scheduler, &warp.lanes[i]);
            }
            for (int i = 1; i < LANES; ++i)
                if (warp.done[i] != warp.done[0]
                    || (!warp.done[0] && warp.place[i] != warp.place[0])) {
                    std::fprintf(stderr, "lanes wait at lines %d and %d, or have left\n",
                                 warp.place[0], warp.place[i]);
                    std::abort();
                }
        }
    }
    threadIdx.x = 0, blockDim.x = 1;
}

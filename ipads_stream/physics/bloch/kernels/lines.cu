// Factors of the signal of parallel lines on the GPU: one thread per voxel. Their formula in arrays is
// line_readout.py.

struct Pair { REAL re, im; };

__device__ __forceinline__ Pair times(Pair a, Pair b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

// exp(-(1/T2 + 2 pi i df) t)
__device__ __forceinline__ Pair passed(REAL t, REAL T2, REAL df) {
    REAL e = exp(-t / T2), s, c;
    sincospi(-2 * t * df, &s, &c);
    return {e * c, e * s};
}

// M, T2, df: (columns, Y); stepping, beginning: (Y,); moments: times, (count,).
// left: (columns, count blocks, Y); right: (columns, Y, rows).
extern "C" __global__ void line_factors(
    const Pair* M, const REAL* T2, const REAL* df, const Pair* stepping, const Pair* beginning,
    const REAL* moments, double spacing, long long columns, long long Y, long long count,
    long long blocks, long long rows, Pair* left, Pair* right) {
    long long voxel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (voxel >= columns * Y) return;
    long long y = voxel % Y, column = voxel / Y;
    Pair step = times(passed((REAL)spacing, T2[voxel], df[voxel]), stepping[y]), power = {1, 0};
    for (long long i = 0; i < rows; ++i, power = times(power, step))
        right[voxel * rows + i] = power;
    Pair first = times(M[voxel], beginning[y]);
    for (long long m = 0; m < count; ++m) {
        Pair now = times(passed(moments[m], T2[voxel], df[voxel]), first);
        for (long long j = 0; j < blocks; ++j, now = times(now, power))
            left[(column * count * blocks + m * blocks + j) * Y + y] = now;
    }
}

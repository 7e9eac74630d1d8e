// Sum of damped exponentials on the GPU: a warp owns 256 points of one signal, lane l the points
// l, l + 32, ... Each lane starts from a phase reduced in double and steps by z^32 in REAL.
#define LANES 32
#define STEPS 8

struct alignas(2 * sizeof(REAL)) Pair {
    REAL re, im;
};

// exp(2 pi i turns - nepers)
__device__ __forceinline__ Pair damped(double turns, double nepers) {
    REAL s, c, modulus = exp((REAL)-nepers);
    sincospi((REAL)(2.0 * (turns - rint(turns))), &s, &c);
    return {modulus * c, modulus * s};
}

__device__ __forceinline__ Pair product(Pair a, Pair b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

extern "C" __global__ void damped_exponentials(
    const double* amplitude, const double* frequency, const double* phase, const double* decay,
    double dwell, long long signals, long long peaks, long long points, Pair* out) {
    long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x, tile = item / LANES;
    long long tiles = (points + LANES * STEPS - 1) / (LANES * STEPS), signal = tile / tiles;
    if (signal >= signals) return;
    long long first = tile % tiles * (LANES * STEPS) + item % LANES;
    Pair sum[STEPS] = {};
    for (long long j = signal * peaks; j < (signal + 1) * peaks; ++j) {
        if (amplitude[j] == 0.0) continue;
        double turns = frequency[j] * dwell, nepers = dwell / decay[j];
        Pair w = damped(turns * first + phase[j] * 0.15915494309189535, nepers * first);
        Pair step = damped(turns * LANES, nepers * LANES);
        REAL a = (REAL)amplitude[j];
        w.re *= a, w.im *= a;
#pragma unroll
        for (int i = 0; i < STEPS; ++i) {
            sum[i].re += w.re, sum[i].im += w.im;
            w = product(w, step);
        }
    }
#pragma unroll
    for (int i = 0; i < STEPS; ++i)
        if (first + LANES * i < points) out[signal * points + first + LANES * i] = sum[i];
}

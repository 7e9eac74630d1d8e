// Sum of damped exponentials on the GPU: LANES of a warp own LANES * STEPS points of one signal,
// lane l the points l, l + LANES, ... What a peak is at the first of them is found by one lane for
// all. With w = c z^l and p = z^LANES a lane adds w (p^4)^m p^n, m = 0 .. 7, n = 0 .. 3.
#ifndef LANES
#define LANES 8
#endif
#define STEPS 32
#define ALL 0xFFFFFFFFu

struct alignas(8) Pair {
    float re, im;
};

__device__ __forceinline__ Pair product(Pair a, Pair b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

// sum += a b, in four multiply-adds
__device__ __forceinline__ void add(Pair& sum, Pair a, Pair b) {
    sum.re += a.re * b.re, sum.im += a.re * b.im;
    sum.re -= a.im * b.im, sum.im += a.im * b.re;
}

// A turn is 2^32: sums of phases that wrap around lose nothing.
__device__ __forceinline__ unsigned turned(double turns) {
    return (unsigned)(long long)rint((turns - rint(turns)) * 4294967296.0);
}

// modulus exp(2 pi i phase)
__device__ __forceinline__ Pair polar(float modulus, unsigned phase) {
    float s, c;
    sincospi((float)(int)phase * 0x1p-31f, &s, &c);
    return {modulus * c, modulus * s};
}

// z^n
__device__ __forceinline__ Pair power(double turns, double nepers, int n) {
    return polar(exp((float)(-nepers * n)), turned(turns * n));
}

struct Peak {
    float amplitude, nepers;  // at the first point, and per point
    unsigned phase, step;
    Pair power, fourth;  // z^LANES, and its fourth power: squares of squares would lose digits

    __device__ __forceinline__ Peak of(int lane) const {
        return {__shfl_sync(ALL, amplitude, lane, LANES), __shfl_sync(ALL, nepers, lane, LANES),
                __shfl_sync(ALL, phase, lane, LANES), __shfl_sync(ALL, step, lane, LANES),
                {__shfl_sync(ALL, power.re, lane, LANES), __shfl_sync(ALL, power.im, lane, LANES)},
                {__shfl_sync(ALL, fourth.re, lane, LANES), __shfl_sync(ALL, fourth.im, lane, LANES)}};
    }
};

extern "C" __global__ void damped_exponentials(
    const double* amplitude, const double* frequency, const double* phase, const double* decay,
    double dwell, long long signals, long long peaks, long long points, Pair* out) {
    long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x, tile = item / LANES;
    long long tiles = (points + LANES * STEPS - 1) / (LANES * STEPS), signal = tile / tiles;
    long long first = tile % tiles * (LANES * STEPS);
    int lane = item % LANES;
    bool present = signal < signals;
    if (!present) signal = signals - 1;  // lanes of a warp stay together
    Pair sum[STEPS] = {};
    for (long long begin = 0; begin < peaks; begin += LANES) {
        long long count = peaks - begin < LANES ? peaks - begin : LANES;
        long long j = signal * peaks + begin + (lane < count ? lane : 0);
        double turns = frequency[j] * dwell, nepers = dwell / decay[j];
        Peak mine = {(float)amplitude[j] * exp((float)(-nepers * first)), (float)nepers,
                     turned(turns * first + phase[j] * 0.15915494309189535), turned(turns),
                     power(turns, nepers, LANES), power(turns, nepers, 4 * LANES)};
        if (amplitude[j] == 0.0) mine.amplitude = 0.0f;
        for (int k = 0; k < count; ++k) {
            Peak peak = mine.of(k);
            if (peak.amplitude == 0.0f) continue;
            Pair w = polar(peak.amplitude * exp(-peak.nepers * lane), peak.phase + peak.step * lane);
            Pair p = peak.power, p2 = product(p, p), p3 = product(p2, p);
#pragma unroll
            for (int i = 0; i < STEPS; i += 4) {
                sum[i].re += w.re, sum[i].im += w.im;
                add(sum[i + 1], w, p), add(sum[i + 2], w, p2), add(sum[i + 3], w, p3);
                w = product(w, peak.fourth);
            }
        }
    }
    if (!present) return;
    out += signal * points;
#pragma unroll
    for (int i = 0; i < STEPS; ++i) {
        long long place = first + lane + LANES * i;
        if (place < points) out[place] = sum[i];
    }
}

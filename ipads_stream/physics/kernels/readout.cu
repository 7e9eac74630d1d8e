// Signal of many spins during free precession on the GPU: one thread per item, chunk of spins,
// group of coils and sample; it sums over its spins in closed form. No sum crosses threads.
#define CHUNK 512
#define COILS 4

struct alignas(2 * sizeof(REAL)) Pair {
    REAL re, im;
};

// columns: (S, 7) turns per m, m, m and rad/s, then s, s and s/m^2; spins: (8, B N) as of bloch;
// extra: (2, B N) 1/T2' and D; M: (B N, 3); sensitivity: (B, C, N); out: (B, C, chunks, S).
extern "C" __global__ void readout(
    const double* columns, long long samples, const double* spins, const double* extra,
    const REAL* M, const Pair* sensitivity, long long items, long long coils, long long num_spins,
    Pair* out) {
    long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long chunks = (num_spins + CHUNK - 1) / CHUNK, groups = (coils + COILS - 1) / COILS;
    long long sample = thread % samples, rest = thread / samples;
    long long first = rest % groups * COILS, chunk = rest / groups % chunks;
    long long item = rest / groups / chunks;
    if (item >= items) return;
    double of[4];
    REAL decay[3];
#pragma unroll
    for (int i = 0; i < 4; ++i) of[i] = columns[7 * sample + i];
#pragma unroll
    for (int i = 0; i < 3; ++i) decay[i] = (REAL)columns[7 * sample + 4 + i];
    long long total = items * num_spins, stop = (chunk + 1) * CHUNK;
    if (stop > num_spins) stop = num_spins;
    Pair sum[COILS] = {};
    for (long long n = chunk * CHUNK; n < stop; ++n) {
        long long spin = item * num_spins + n;
        double turns = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) turns += of[i] * spins[i * total + spin];
        REAL s, c, e = exp(-(decay[0] * (REAL)spins[6 * total + spin]
            + decay[1] * (REAL)extra[spin] + decay[2] * (REAL)extra[total + spin]));
        sincospi((REAL)(2.0 * (turns - rint(turns))), &s, &c);
        REAL x = M[3 * spin], y = M[3 * spin + 1];
        REAL re = e * (c * x - s * y), im = e * (s * x + c * y);
#pragma unroll
        for (int k = 0; k < COILS; ++k) {
            if (first + k >= coils) break;
            Pair w = sensitivity[(item * coils + first + k) * num_spins + n];
            sum[k].re += w.re * re - w.im * im, sum[k].im += w.re * im + w.im * re;
        }
    }
#pragma unroll
    for (int k = 0; k < COILS; ++k)
        if (first + k < coils)
            out[((item * coils + first + k) * chunks + chunk) * samples + sample] = sum[k];
}

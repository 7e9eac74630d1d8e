// Signal of many spins during free precession on the GPU, in closed form, summed over chunks of spins.
// Lines of samples that share a pattern are a product of two matrices of factors, of which a warp
// owns a tile; other samples have a thread each, for a group of coils.
#define CHUNK 512
#define COILS 4
#define WARP 32
#define ROWS 32  // of a tile: lines of all coils
#define POINTS (sizeof(REAL) == 4 ? 64 : 16)  // as many as registers hold sums of
#define SPINS 8  // whose factors are formed before they are summed
#define DOWN 4   // lanes of a tile, down and across
#define ACROSS 8
#define WARPS 4  // of a thread block at most
#define FACTORS (SPINS * (ROWS + POINTS))

struct alignas(2 * sizeof(REAL)) Pair {
    REAL re, im;
};

// What the logarithm of M+ is linear in: turns per m, m, m and rad/s, then s, s and s/m^2; relative
// to another sample where there is one.
struct Sample {
    double turns[4];
    REAL decay[3];

    __device__ __forceinline__ Sample(const double* columns, long long sample, long long less) {
#pragma unroll
        for (int i = 0; i < 7; ++i) {
            double x = columns[7 * sample + i] - (less < 0 ? 0.0 : columns[7 * less + i]);
            if (i < 4) turns[i] = x;
            else decay[i - 4] = (REAL)x;
        }
    }
};

struct Spins {
    const double *fields, *extra;  // (8, total) as of bloch; (2, total) 1/T2' and D
    long long total;

    __device__ __forceinline__ Pair factor(const Sample& at, long long spin) const {
        double turns = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) turns += at.turns[i] * fields[i * total + spin];
        REAL s, c, e = exp(-(at.decay[0] * (REAL)fields[6 * total + spin]
            + at.decay[1] * (REAL)extra[spin] + at.decay[2] * (REAL)extra[total + spin]));
        sincospi((REAL)(2.0 * (turns - rint(turns))), &s, &c);
        return {e * c, e * s};
    }
};

__device__ __forceinline__ Pair product(Pair a, Pair b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

// sum += a b, in four multiply-adds
__device__ __forceinline__ void add(Pair& sum, Pair a, Pair b) {
    sum.re += a.re * b.re, sum.im += a.re * b.im;
    sum.re -= a.im * b.im, sum.im += a.im * b.re;
}

// columns: (S, 7); spins, extra: as above, of B N spins; M: (B N, 3); sensitivity: (B, C, N); firsts:
// samples at which lines of one pattern start; out: (B, C, chunks, S), of which they fill theirs.
extern "C" __global__ void readout_lines(
    const double* columns, long long samples, const double* spins, const double* extra,
    const REAL* M, const Pair* sensitivity, long long items, long long coils, long long num_spins,
    const long long* firsts, long long lines, long long points, Pair* out) {
    __shared__ Pair shared[WARPS * FACTORS];
    long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x, tile = thread / WARP;
    int lane = thread % WARP, down = lane / ACROSS, across = lane % ACROSS;
    Pair *left = shared + threadIdx.x / WARP * FACTORS, *right = left + SPINS * ROWS;
    long long rows = lines * coils, chunks = (num_spins + CHUNK - 1) / CHUNK;
    long long tiles_across = (points + POINTS - 1) / POINTS, tiles_down = (rows + ROWS - 1) / ROWS;
    long long begin = tile % tiles_across * POINTS, rest = tile / tiles_across;
    long long top = rest % tiles_down * ROWS, chunk = rest / tiles_down % chunks;
    long long item = rest / tiles_down / chunks;
    bool writes = item < items;
    if (!writes) item = items - 1;  // lanes of a warp stay together
    // The factors that a lane forms: of a line in a coil, and of one or two samples of the pattern.
    long long row = top + lane < rows ? top + lane : rows - 1, coil = row % coils;
    Sample line(columns, firsts[row / coils], -1);
    long long last = points - 1, second = begin + WARP + lane < last ? begin + WARP + lane : last;
    Sample near(columns, firsts[0] + (begin + lane < last ? begin + lane : last), firsts[0]);
    Sample far(columns, firsts[0] + second, firsts[0]);
    Spins of = {spins, extra, items * num_spins};
    long long stop = (chunk + 1) * CHUNK < num_spins ? (chunk + 1) * CHUNK : num_spins;
    Pair sums[ROWS / DOWN][POINTS / ACROSS] = {};
    for (long long n = chunk * CHUNK; n < stop; n += SPINS) {
        int count = stop - n < SPINS ? stop - n : SPINS;
        __syncwarp();
#pragma unroll 1
        for (int i = 0; i < count; ++i) {
            long long spin = item * num_spins + n + i;
            Pair m = {M[3 * spin], M[3 * spin + 1]};
            Pair weight = product(m, sensitivity[(item * coils + coil) * num_spins + n + i]);
            left[ROWS * i + lane] = product(weight, of.factor(line, spin));
            if (lane < POINTS) right[POINTS * i + lane] = of.factor(near, spin);
            if (POINTS > WARP) right[POINTS * i + WARP + lane] = of.factor(far, spin);
        }
        __syncwarp();
#pragma unroll 1
        for (int i = 0; i < count; ++i) {
            Pair a[ROWS / DOWN];
#pragma unroll
            for (int r = 0; r < ROWS / DOWN; ++r) a[r] = left[ROWS * i + DOWN * r + down];
#pragma unroll
            for (int p = 0; p < POINTS / ACROSS; ++p) {
                Pair b = right[POINTS * i + ACROSS * p + across];
#pragma unroll
                for (int r = 0; r < ROWS / DOWN; ++r) add(sums[r][p], a[r], b);
            }
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS / DOWN; ++r) {
        long long place = top + DOWN * r + down;
        if (!writes || place >= rows) continue;
        long long start = ((item * coils + place % coils) * chunks + chunk) * samples;
        start += firsts[place / coils] + begin + across;
#pragma unroll
        for (int p = 0; p < POINTS / ACROSS; ++p)
            if (begin + ACROSS * p + across < points) out[start + ACROSS * p] = sums[r][p];
    }
}

// The same of samples of their own: listed, (num,), one thread each and group of coils and chunk.
extern "C" __global__ void readout(
    const double* columns, long long samples, const double* spins, const double* extra,
    const REAL* M, const Pair* sensitivity, long long items, long long coils, long long num_spins,
    const long long* listed, long long num, Pair* out) {
    long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long chunks = (num_spins + CHUNK - 1) / CHUNK, groups = (coils + COILS - 1) / COILS;
    long long rest = thread / num, first = rest % groups * COILS, chunk = rest / groups % chunks;
    long long item = rest / groups / chunks;
    if (item >= items) return;
    long long sample = listed[thread % num];
    Sample at(columns, sample, -1);
    Spins of = {spins, extra, items * num_spins};
    long long stop = (chunk + 1) * CHUNK < num_spins ? (chunk + 1) * CHUNK : num_spins;
    Pair sum[COILS] = {};
    for (long long n = chunk * CHUNK; n < stop; ++n) {
        long long spin = item * num_spins + n;
        Pair m = product({M[3 * spin], M[3 * spin + 1]}, of.factor(at, spin));
#pragma unroll
        for (int k = 0; k < COILS; ++k) {
            if (first + k >= coils) break;
            add(sum[k], sensitivity[(item * coils + first + k) * num_spins + n], m);
        }
    }
#pragma unroll
    for (int k = 0; k < COILS; ++k)
        if (first + k < coils)
            out[((item * coils + first + k) * chunks + chunk) * samples + sample] = sum[k];
}

// Isochromats backward on the GPU: one thread per spin, the mathematics of adjoint.py and the plan of
// evolve.py. A step with RF is 2^n times half a relaxation, a rotation and half a relaxation; M at the
// start of each step of a segment is kept, and the parts of a step are run again from there. Slopes
// of steps are summed over the spins of a warp, in order.
#include "spin.cu"
#define WARP 32
#define COLUMNS 6
#define ALL 0xFFFFFFFFu

// A spin in the precision of M.
struct Spin {
    REAL x, y, z, f, b1, r1, r2, m0;

    __device__ __forceinline__ Spin(const double* spins, long long num_spins, long long spin) {
        REAL of[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) of[i] = (REAL)spins[i * num_spins + spin];
        x = of[0], y = of[1], z = of[2], f = of[3];
        b1 = of[4], r1 = of[5], r2 = of[6], m0 = of[7];
    }
};

// What a spin meets in one step: half angles and time of a part; parts: 0 is free, -1 exact; d1 and
// d2: of half a part, or of all of a free step.
struct Step {
    Vector a;
    REAL dt, d1, d2, time = -1;
    int parts;
    double turns;

    __device__ __forceinline__ void meet(
        const double* exact, const Waveform& row, int way, const Spin& of, const double* spins,
        long long num_spins, long long spin) {
        parts = way == FREE ? 0 : way == EXACT ? -1 : 1 << way;
        REAL scale = way > 0 ? (REAL)1 / parts : (REAL)1;
        dt = scale * (REAL)exact[5];
        REAL b1 = scale * of.b1;
        a = {row.hx * b1, row.hy * b1,
             scale * (row.gx * of.x + (row.gy * of.y + row.gz * of.z)) + dt * of.f};
        if (way == FREE) turns = turns_of(exact, spins, num_spins, spin);
        REAL relaxing = way == FREE ? dt : (REAL)0.5 * dt;
        if (relaxing != time) time = relaxing, d1 = lost(time * of.r1), d2 = lost(time * of.r2);
    }
};

// By the quaternion (w, v)
__device__ __forceinline__ void rotate(Vector& m, REAL w, Vector v) {
    Vector t = cross(v, m), u = cross(v, t);
    m.x += 2 * (w * t.x + u.x), m.y += 2 * (w * t.y + u.y), m.z += 2 * (w * t.z + u.z);
}

// The upper three rows of exp of an affine generator, exponential, and, for another in place of
// direction m l^T, the first three columns of its derivative; both from power series of the 2^-n th
// part. A l of zeros leaves the derivative zero.
__device__ __forceinline__ void exponentiate(
    Vector p, double n1, double n2, double m0, Vector m, Vector l, double (&exponential)[12],
    double (&derivative)[12]) {
    double norm = sqrt((double)p.x * p.x + (double)p.y * p.y + (double)p.z * p.z) + n1 + n2;
    double scale = 1;
    int halvings = 0;
    while (scale * norm > 0.5) scale *= 0.5, ++halvings;
    double px = p.x * scale, py = p.y * scale, pz = p.z * scale;
    double b = n1 * m0 * scale, at[4] = {m.x, m.y, m.z, 1}, to[3] = {l.x, l.y, l.z};
    n1 *= scale, n2 *= scale;
    double power[12], changed[12];
#pragma unroll
    for (int i = 0; i < 12; ++i) {
        exponential[i] = power[i] = i % 5 == 0;
        derivative[i] = changed[i] = 0;
    }
    for (int n = 1; n < 15; ++n) {
        double inverse = 1.0 / n;
#pragma unroll
        for (int j = 0; j < 3; ++j) {
            // changed = (G changed + m l^T power) / n, columns 0 .. 2
            double x = changed[j], y = changed[3 + j], z = changed[6 + j], w = changed[9 + j];
            double on = scale * (to[0] * power[j] + to[1] * power[4 + j] + to[2] * power[8 + j]);
            changed[j] = (-n2 * x - pz * y + py * z + at[0] * on) * inverse;
            changed[3 + j] = (pz * x - n2 * y - px * z + at[1] * on) * inverse;
            changed[6 + j] = (-py * x + px * y - n1 * z + b * w + at[2] * on) * inverse;
            changed[9 + j] = at[3] * on * inverse;
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            double x = power[j], y = power[4 + j], z = power[8 + j], w = n == 1 && j == 3;
            power[j] = (-n2 * x - pz * y + py * z) * inverse;
            power[4 + j] = (pz * x - n2 * y - px * z) * inverse;
            power[8 + j] = (-py * x + px * y - n1 * z + b * w) * inverse;
        }
#pragma unroll
        for (int i = 0; i < 12; ++i) exponential[i] += power[i], derivative[i] += changed[i];
    }
    for (int n = 0; n < halvings; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 3; ++j) {
                double sum = i < 3 ? 0 : derivative[9 + j];
                for (int k = 0; k < 3; ++k) sum += derivative[3 * i + k] * exponential[4 * k + j];
                if (i < 3)
                    for (int k = 0; k < 4; ++k)
                        sum += exponential[4 * i + k] * derivative[3 * k + j];
                changed[3 * i + j] = sum;
            }
#pragma unroll
        for (int i = 0; i < 3; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                double sum = j < 3 ? 0 : exponential[4 * i + 3];
                for (int k = 0; k < 3; ++k) sum += exponential[4 * i + k] * exponential[4 * k + j];
                power[4 * i + j] = sum;
            }
#pragma unroll
        for (int i = 0; i < 12; ++i) exponential[i] = power[i], derivative[i] = changed[i];
    }
}

// M through a number of the parts of a step, each a turn by the quaternion (w, v)
__device__ __forceinline__ void through(
    Vector& m, const Step& step, int parts, REAL w, Vector v, REAL m0) {
    for (int n = 0; n < parts; ++n) {
        relax(m, step.d1, step.d2, m0);
        rotate(m, w, v);
        relax(m, step.d1, step.d2, m0);
    }
}

// M through a step
__device__ __forceinline__ void advance(Vector& m, const Step& step, const Spin& of) {
    if (step.parts == 0) {
        precess(m, step.turns);
        relax(m, step.d1, step.d2, of.m0);
    } else if (step.parts < 0) {
        double f[12], unused[12];
        Vector none = {0, 0, 0}, p = {2 * step.a.x, 2 * step.a.y, 2 * step.a.z};
        exponentiate(p, step.dt * of.r1, step.dt * of.r2, of.m0, m, none, f, unused);
        double x = m.x, y = m.y, z = m.z;
        m.x = (REAL)(f[0] * x + f[1] * y + f[2] * z + f[3]);
        m.y = (REAL)(f[4] * x + f[5] * y + f[6] * z + f[7]);
        m.z = (REAL)(f[8] * x + f[9] * y + f[10] * z + f[11]);
    } else {
        REAL q = dot(step.a, step.a), even, odd;
        rotor(q, &even, &odd);
        REAL w = 1 + q * even, s = 1 + q * odd;
        through(m, step, step.parts, w, {step.a.x * s, step.a.y * s, step.a.z * s}, of.m0);
    }
}

// What a step, seen as parts, adds to the slopes: to f with respect to its half angles, to by with
// respect to its times over T1 and T2 and to M0; l goes back to its start, where M is m.
__device__ __forceinline__ void pull(
    Vector& l, const Step& step, Vector m, const Spin& of, Vector& f, Vector& by) {
    if (step.parts == 0) {
        by.z += step.d1 * l.z;
        relax(l, step.d1, step.d2, 0);
        precess(l, -step.turns);
        f.z = 2 * (m.x * l.y - m.y * l.x);
        by.x = step.dt * (of.m0 - m.z) * l.z;
        by.y = -step.dt * (m.x * l.x + m.y * l.y);
        return;
    }
    if (step.parts < 0) {
        double e[12], d[12];
        Vector p = {2 * step.a.x, 2 * step.a.y, 2 * step.a.z};
        exponentiate(p, step.dt * of.r1, step.dt * of.r2, of.m0, m, l, e, d);
        f = {(REAL)(2 * (d[5] - d[7])), (REAL)(2 * (d[6] - d[2])), (REAL)(2 * (d[1] - d[3]))};
        by.x = (REAL)(step.dt * (of.m0 * d[11] - d[8])), by.y = (REAL)(-step.dt * (d[0] + d[4]));
        by.z += (REAL)(step.dt * of.r1 * d[11]);
        double x = l.x, y = l.y, z = l.z;
        l.x = (REAL)(e[0] * x + e[4] * y + e[8] * z), l.y = (REAL)(e[1] * x + e[5] * y + e[9] * z);
        l.z = (REAL)(e[2] * x + e[6] * y + e[10] * z);
        return;
    }
    REAL q = dot(step.a, step.a), even, odd, half = (REAL)0.5 * step.dt;
    rotor(q, &even, &odd);
    REAL w = 1 + q * even, s = 1 + q * odd, twice = (REAL)2 / step.parts;
    Vector v = {step.a.x * s, step.a.y * s, step.a.z * s}, back = {-v.x, -v.y, -v.z};
    // M before a part is found from where its block of parts begins, about as many as blocks.
    int block = 1;
    while (block * block < step.parts) block *= 2;
    Vector first = m;
    for (int n = step.parts - 1, held = 0; n >= 0; --n) {
        int begin = n & ~(block - 1);
        if (begin != held) {
            first = m, held = begin;
            through(first, step, begin, w, v, of.m0);
        }
        Vector before = first;
        through(before, step, n - begin, w, v, of.m0);
        relax(before, step.d1, step.d2, of.m0);
        Vector after = before;
        rotate(after, w, v);
        by.z += step.d1 * l.z;
        relax(l, step.d1, step.d2, 0);
        by.x += half * (of.m0 - after.z) * l.z;
        by.y -= half * (after.x * l.x + after.y * l.y);
        rotate(l, w, back);
        by.x += half * (of.m0 - before.z) * l.z;
        by.y -= half * (before.x * l.x + before.y * l.y);
        Vector t = cross(before, l), across = cross(v, t);
        REAL share = (s * even + odd) * dot(step.a, t);
        f.x += twice * (s * (w * t.x + across.x) - share * step.a.x);
        f.y += twice * (s * (w * t.y + across.y) - share * step.a.y);
        f.z += twice * (s * (w * t.z + across.z) - share * step.a.z);
        by.z += step.d1 * l.z;
        relax(l, step.d1, step.d2, 0);
    }
}

// The sum over a warp of one of 8 numbers: of number lane / 4. Halves of the numbers go to halves of
// the lanes, until each has one.
__device__ __forceinline__ REAL summed(REAL (&x)[8], int lane) {
#pragma unroll
    for (int half = 4, by = 16; half > 0; half /= 2, by /= 2) {
        bool upper = lane & by;
#pragma unroll
        for (int i = 0; i < half; ++i) {
            REAL passed = __shfl_xor_sync(ALL, upper ? x[i] : x[half + i], by);
            x[i] = (upper ? x[half + i] : x[i]) + passed;
        }
    }
    x[0] += __shfl_xor_sync(ALL, x[0], 2);
    return x[0] + __shfl_xor_sync(ALL, x[0], 1);
}

// One segment backward, steps first .. last - 1. steps to group: as of evolve.cu; checkpoint: (3, N),
// M at its start; path: (segment, 3, N), scratch; slope: (3, N), l, becomes that at the start;
// step_slopes: (segment, 6, warps), written, the last of the columns times dt; spin_slopes: (8, N),
// added to.
extern "C" __global__ void bloch_back(
    const double* steps, const Waveform* table, long long num_steps, const double* spins,
    long long num_spins, const signed char* ways, const int* ends, long long group, long long first,
    long long last, const REAL* checkpoint, REAL* path, REAL* slope, REAL* step_slopes,
    double* spin_slopes) {
    long long spin = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long warps = (num_spins + WARP - 1) / WARP, warp = spin / WARP;
    int lane = spin % WARP;
    bool mine = spin < num_spins;
    if (!mine) spin = num_spins - 1;  // lanes of a warp stay together; these have no slope
    ways += spin / group * num_steps;
    Spin of(spins, num_spins, spin);
    REAL sums[8] = {};
    Vector m = {checkpoint[spin], checkpoint[num_spins + spin], checkpoint[2 * num_spins + spin]};
    Vector l = {0, 0, 0};
    if (mine) l = {slope[spin], slope[num_spins + spin], slope[2 * num_spins + spin]};
    Step step;
    for (long long k = first; k < last; ++k) {
        REAL* place = path + (k - first) * 3 * num_spins + spin;
        if (mine) place[0] = m.x, place[num_spins] = m.y, place[2 * num_spins] = m.z;
        step.meet(steps + 6 * k, table[k], ways[k], of, spins, num_spins, spin);
        advance(m, step, of);
    }
    for (long long k = last - 1; k >= first; --k) {
        const REAL* place = path + (k - first) * 3 * num_spins + spin;
        const Waveform& row = table[k];
        step.meet(steps + 6 * k, row, ways[k], of, spins, num_spins, spin);
        Vector f = {0, 0, 0}, by = {0, 0, 0};
        if (mine) {
            m = {place[0], place[num_spins], place[2 * num_spins]};
            pull(l, step, m, of, f, by);
        }
        REAL whole = (REAL)steps[6 * k + 5];
        REAL added[8] = {of.b1 * f.x, of.b1 * f.y, of.x * f.z, of.y * f.z, of.z * f.z,
                         whole * of.f * f.z + (of.r1 * by.x + of.r2 * by.y), 0, 0};
        REAL total = summed(added, lane);
        if (lane % 4 == 0 && lane / 4 < COLUMNS && warp < warps)
            step_slopes[((k - first) * COLUMNS + lane / 4) * warps + warp] = total;
        sums[0] += row.gx * f.z, sums[1] += row.gy * f.z, sums[2] += row.gz * f.z;
        sums[3] += whole * f.z, sums[4] += row.hx * f.x + row.hy * f.y;
        sums[5] += by.x, sums[6] += by.y, sums[7] += by.z;
    }
    if (!mine) return;
    slope[spin] = l.x, slope[num_spins + spin] = l.y, slope[2 * num_spins + spin] = l.z;
#pragma unroll
    for (int i = 0; i < 8; ++i) spin_slopes[i * num_spins + spin] += sums[i];
}

// Isochromats on the GPU: one thread per spin, the mathematics and the plan of evolve.py. Steps of
// one length that are split alike follow one another as a run, in which halves of relaxation join.
#include "spin.cu"

// What a spin is, in the precision of M; position, B1 and df of a part of a step.
struct Spin {
    REAL x, y, z, b1, df, d1, d2, d1m0;
};

// A rotation, and relaxation by d1 and d2: the changes are summed first, so that M is rounded once.
__device__ __forceinline__ void turn(Vector& m, const Waveform& step, const Spin& of) {
    REAL a = step.hx * of.b1, b = step.hy * of.b1;
    REAL c = step.gx * of.x + (step.gy * of.y + (step.gz * of.z + of.df));
    REAL q = c * c + (b * b + a * a), even, odd;
    rotor(q, &even, &odd);
    REAL w = 2 + 2 * q * even, s = 1 + q * odd;
    a *= s, b *= s, c *= s;
    REAL tx = b * m.z - c * m.y, ty = c * m.x - a * m.z, tz = a * m.y - b * m.x;
    a += a, b += b, c += c;
    REAL x = w * tx + (b * tz - c * ty), y = w * ty + (c * tx - a * tz);
    REAL z = w * tz + (a * ty - b * tx);
    x -= of.d2 * (m.x + x), y -= of.d2 * (m.y + y), z += of.d1m0 - of.d1 * (m.z + z);
    m.x += x, m.y += y, m.z += z;
}

__device__ __forceinline__ void square(double (&a)[9]) {
    double b[9];
#pragma unroll
    for (int i = 0; i < 9; ++i)
        b[i] = a[i / 3 * 3] * a[i % 3] + a[i / 3 * 3 + 1] * a[i % 3 + 3]
            + a[i / 3 * 3 + 2] * a[i % 3 + 6];
#pragma unroll
    for (int i = 0; i < 9; ++i) a[i] = b[i];
}

// One step of constant fields, of any angle p and any relaxation, r1 and r2 in nepers.
__device__ __forceinline__ void exponentiate(
    Vector& m, double px, double py, double pz, double r1, double r2, double m0) {
    double rf = px * px + py * py, d = r2 * r2 + pz * pz, below = r1 * d + rf * r2;
    double sz = below > 0 ? r1 * m0 / below : 0;
    double sx = sz * (py * r2 + px * pz), sy = sz * (py * pz - px * r2);
    sz *= d;
    double mean = (2 * r2 + r1) / 3, t = (r2 - r1) / 3, scale = 1;
    double norm = sqrt(rf + pz * pz) + 2 * (t < 0 ? -t : t);
    int halvings = 0;
    while (scale * norm > 0.5) scale *= 0.5, ++halvings;
    px *= scale, py *= scale, pz *= scale, t *= scale;
    double square_sum = px * px + py * py + pz * pz;
    double p = 3 * t * t - square_sum, q = t * (2 * t * t - square_sum + 3 * pz * pz);
    double c0 = 1, c1 = 1, c2 = 0.5, u0 = 0, u1 = 0, u2 = 0.5;
    for (int n = 3; n < 14; ++n) {
        double inverse = 1.0 / n, next = u1 * inverse;
        u1 = (u0 + u2 * p) * inverse, u0 = u2 * q * inverse, u2 = next;
        c0 += u0, c1 += u1, c2 += u2;
    }
    // c0 + c1 A + c2 A^2 with A = [-t -pz py; pz -t -px; -py px 2t]
    double e = exp(-mean * scale);
    c0 *= e, c1 *= e, c2 *= e;
    double even = c0 - c1 * t + c2 * t * t, off = c1 - 2 * c2 * t, mixed = c1 + c2 * t;
    double a[9] = {
        even - c2 * (pz * pz + py * py), c2 * px * py - off * pz, mixed * py + c2 * px * pz,
        c2 * px * py + off * pz, even - c2 * (pz * pz + px * px), c2 * py * pz - mixed * px,
        c2 * px * pz - mixed * py, c2 * py * pz + mixed * px,
        c0 + 2 * c1 * t + c2 * (4 * t * t - px * px - py * py)};
    for (int n = 0; n < halvings; ++n) square(a);
    double x = m.x - sx, y = m.y - sy, z = m.z - sz;
    m.x = (REAL)(sx + a[0] * x + a[1] * y + a[2] * z);
    m.y = (REAL)(sy + a[3] * x + a[4] * y + a[5] * z);
    m.z = (REAL)(sz + a[6] * x + a[7] * y + a[8] * z);
}

// steps: (K, 6) half angles by RF about x and y, by gradients per metre, dt; table: the first five
// in REAL; spins: (8, N) x, y, z, half angle by df per second, B1, 1/T1, 1/T2, M0; ways, ends: as
// planned of groups of spins; checkpoints: (segments, 3, N), M where segments of so many steps begin,
// none where that is 0; M: (N, 3), in place.
extern "C" __global__ void bloch(
    const double* steps, const Waveform* table, long long num_steps, const double* spins,
    long long num_spins, const signed char* ways, const int* ends, long long group,
    long long segment, REAL* checkpoints, REAL* M) {
    long long spin = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (spin >= num_spins) return;
    ways += spin / group * num_steps, ends += spin / group * num_steps;
    REAL of[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) of[i] = (REAL)spins[i * num_spins + spin];
    Vector m = {M[3 * spin], M[3 * spin + 1], M[3 * spin + 2]};
    for (long long k = 0, next = segment > 0 ? 0 : num_steps; k < num_steps;) {
        if (k == next) {
            checkpoints[spin] = m.x, checkpoints[num_spins + spin] = m.y;
            checkpoints[2 * num_spins + spin] = m.z;
            checkpoints += 3 * num_spins, next += segment;
        }
        const double* exact = steps + 6 * k;
        int way = ways[k];
        REAL dt = (REAL)exact[5];
        if (way == FREE) {
            precess(m, turns_of(exact, spins, num_spins, spin));
            relax(m, lost(dt * of[5]), lost(dt * of[6]), of[7]);
            ++k;
            continue;
        }
        if (way == EXACT) {
            double b1 = 2 * spins[4 * num_spins + spin];
            double angle = turns_of(exact, spins, num_spins, spin) * 6.283185307179586;
            exponentiate(m, exact[0] * b1, exact[1] * b1, angle, exact[5] * of[5],
                         exact[5] * of[6], of[7]);
            ++k;
            continue;
        }
        long long stop = ends[k] < next ? ends[k] : next;
        REAL scale = (REAL)1 / (1 << way), part = dt * scale, half = (REAL)0.5 * part;
        REAL h1 = lost(half * of[5]), h2 = lost(half * of[6]);
        REAL d1 = lost(part * of[5]), d2 = lost(part * of[6]);
        Spin now = {scale * of[0], scale * of[1], scale * of[2], scale * of[4], part * of[3],
                    d1, d2, d1 * of[7]};
        relax(m, h1, h2, of[7]);
        const Waveform* row = table + k;
        int left = 1 << way;
        for (long long n = ((stop - k) << way) - 1; n > 0; --n) {
            turn(m, *row, now);
            if (--left == 0) left = 1 << way, ++row;
        }
        now.d1 = h1, now.d2 = h2, now.d1m0 = h1 * of[7];
        turn(m, *row, now);
        k = stop;
    }
    M[3 * spin] = m.x, M[3 * spin + 1] = m.y, M[3 * spin + 2] = m.z;
}

// Isochromats backward on the GPU: one thread per spin, the mathematics of bloch_adjoint.py. A step
// with RF is 2^n times half a relaxation, a rotation and half a relaxation; M at the start of each
// step of a segment is kept, and the parts of a step are run again from there for each of them.
#define MOST_HALVINGS 6

struct Vector {
    REAL x, y, z;
};

// What a spin meets in one step: half angles and time of a part; parts: 0 is free, -1 exact.
struct Step {
    REAL ax, ay, az, dt;
    int parts;
    double turns;
};

// 1 + q even, 1 + q odd on [0, 1]: cos(sqrt q) and sin(sqrt q)/sqrt q, as in bloch.py
__device__ __forceinline__ void rotor(float q, float* even, float* odd) {
    *even = -0.5f + q * (4.166659879322851e-2f + q * (-1.3885490860485739e-3f
        + q * 2.4256144916634526e-5f));
    *odd = -0.16666666647343992f + q * (8.333327148835348e-3f
        + q * (-1.9838174236308515e-4f + q * 2.70606685415231e-6f));
}

__device__ __forceinline__ void rotor(double q, double* even, double* odd) {
    double e = 1.0, o = 1.0;
#pragma unroll
    for (int n = 8; n > 1; --n) {
        e = 1.0 - q * e / (2 * n * (2 * n - 1));
        o = 1.0 - q * o / (2 * n * (2 * n + 1));
    }
    *even = -e / 2, *odd = -o / 6;
}

__device__ __forceinline__ Vector cross(Vector a, Vector b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

__device__ __forceinline__ REAL dot(Vector a, Vector b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

__device__ __forceinline__ void relax(Vector& m, REAL d1, REAL d2, REAL m0) {
    m.x -= d2 * m.x, m.y -= d2 * m.y, m.z += d1 * (m0 - m.z);
}

// By the quaternion (w, v)
__device__ __forceinline__ void rotate(Vector& m, REAL w, Vector v) {
    Vector t = cross(v, m), u = cross(v, t);
    m.x += 2 * (w * t.x + u.x), m.y += 2 * (w * t.y + u.y), m.z += 2 * (w * t.z + u.z);
}

// About z, by exp(2 pi i turns)
__device__ __forceinline__ void precess(Vector& m, double turns) {
    REAL s, c, x = m.x, y = m.y;
    sincospi((REAL)(2.0 * (turns - rint(turns))), &s, &c);
    m.x = c * x - s * y, m.y = s * x + c * y;
}

__device__ __forceinline__ Step met(
    const double* exact, const REAL* brief, const double* spins, long long num_spins,
    long long spin, double tolerance, int follow_rf) {
    Step step = {brief[0], brief[1], 0, brief[5], 0, 0};
    REAL of[7];
#pragma unroll
    for (int i = 0; i < 7; ++i) of[i] = (REAL)spins[i * num_spins + spin];
    int silent = step.ax == 0 && step.ay == 0;
    step.ax *= of[4], step.ay *= of[4];
    step.az = brief[2] * of[0] + (brief[3] * of[1] + (brief[4] * of[2] + step.dt * of[3]));
    REAL rate = of[5] > of[6] ? of[5] : of[6], nepers = step.dt * rate;
    REAL rf = step.ax * step.ax + step.ay * step.ay, q = step.az * step.az + rf;
    // Squares of the estimated error times 12 and of the half angle, quartered by a halving.
    REAL angle = 2 * sqrt(q) + nepers, limit = (REAL)(144 * tolerance * tolerance);
    REAL error = 4 * rf * angle * angle * nepers * nepers;
    if (silent) error = angle * nepers * (REAL)0.01, error *= error;
    if (silent && !follow_rf) {
        double half = exact[5] * spins[3 * num_spins + spin];
        for (int i = 0; i < 3; ++i) half += exact[2 + i] * spins[i * num_spins + spin];
        step.turns = half * 0.3183098861837907;
        return step;
    }
    int halvings = 0;
    while (halvings <= MOST_HALVINGS && (q > 1 || error > limit))
        q *= (REAL)0.25, error *= (REAL)0.0625, ++halvings;
    step.parts = halvings > MOST_HALVINGS ? -1 : 1 << halvings;
    if (step.parts > 0) {
        REAL scale = (REAL)1 / step.parts;
        step.ax *= scale, step.ay *= scale, step.az *= scale, step.dt *= scale;
    }
    return step;
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

// M through a number of the parts of a step, or through all of one that has none
__device__ __forceinline__ void advance(
    Vector& m, const Step& step, int parts, REAL r1, REAL r2, REAL m0) {
    if (step.parts == 0) {
        precess(m, step.turns);
        relax(m, -expm1(-step.dt * r1), -expm1(-step.dt * r2), m0);
    } else if (step.parts < 0) {
        double f[12], unused[12];
        Vector none = {0, 0, 0}, p = {2 * step.ax, 2 * step.ay, 2 * step.az};
        exponentiate(p, step.dt * r1, step.dt * r2, m0, m, none, f, unused);
        double x = m.x, y = m.y, z = m.z;
        m.x = (REAL)(f[0] * x + f[1] * y + f[2] * z + f[3]);
        m.y = (REAL)(f[4] * x + f[5] * y + f[6] * z + f[7]);
        m.z = (REAL)(f[8] * x + f[9] * y + f[10] * z + f[11]);
    } else if (parts > 0) {
        REAL d1 = -expm1((REAL)-0.5 * step.dt * r1), d2 = -expm1((REAL)-0.5 * step.dt * r2);
        REAL q = step.ax * step.ax + step.ay * step.ay + step.az * step.az, w, s;
        rotor(q, &w, &s);
        w = 1 + q * w, s = 1 + q * s;
        Vector v = {step.ax * s, step.ay * s, step.az * s};
        for (int n = 0; n < parts; ++n) {
            relax(m, d1, d2, m0);
            rotate(m, w, v);
            relax(m, d1, d2, m0);
        }
    }
}

// steps, brief: (K, 6) and spins: (8, N), as of bloch.cu; M: (N, 3); checkpoints: (segments, 3, N),
// M where segments of so many steps begin.
extern "C" __global__ void bloch_checkpoints(
    const double* steps, const REAL* brief, long long num_steps, const double* spins,
    long long num_spins, double tolerance, int follow_rf, long long segment, const REAL* M,
    REAL* checkpoints) {
    long long spin = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (spin >= num_spins) return;
    REAL r1 = (REAL)spins[5 * num_spins + spin], r2 = (REAL)spins[6 * num_spins + spin];
    REAL m0 = (REAL)spins[7 * num_spins + spin];
    Vector m = {M[3 * spin], M[3 * spin + 1], M[3 * spin + 2]};
    for (long long k = 0; k < num_steps; ++k) {
        if (k % segment == 0) {
            REAL* place = checkpoints + k / segment * 3 * num_spins + spin;
            place[0] = m.x, place[num_spins] = m.y, place[2 * num_spins] = m.z;
        }
        Step step = met(steps + 6 * k, brief + 6 * k, spins, num_spins, spin, tolerance, follow_rf);
        advance(m, step, step.parts, r1, r2, m0);
    }
}

// What a step, seen as parts, adds to the slopes: to f with respect to its half angles, to by with
// respect to its times over T1 and T2 and to M0; l goes back to its start, where M is m.
__device__ __forceinline__ void pull(
    Vector& l, const Step& step, Vector m, REAL r1, REAL r2, REAL m0, Vector& f, Vector& by) {
    if (step.parts == 0) {
        REAL e1 = -expm1(-step.dt * r1);
        by.z += e1 * l.z;
        relax(l, e1, -expm1(-step.dt * r2), 0);
        precess(l, -step.turns);
        f.z = 2 * (m.x * l.y - m.y * l.x);
        by.x = step.dt * (m0 - m.z) * l.z;
        by.y = -step.dt * (m.x * l.x + m.y * l.y);
        return;
    }
    if (step.parts < 0) {
        double e[12], d[12];
        Vector p = {2 * step.ax, 2 * step.ay, 2 * step.az};
        exponentiate(p, step.dt * r1, step.dt * r2, m0, m, l, e, d);
        f.x = (REAL)(2 * (d[5] - d[7])), f.y = (REAL)(2 * (d[6] - d[2]));
        f.z = (REAL)(2 * (d[1] - d[3]));
        by.x = (REAL)(step.dt * (m0 * d[11] - d[8])), by.y = (REAL)(-step.dt * (d[0] + d[4]));
        by.z += (REAL)(step.dt * r1 * d[11]);
        double x = l.x, y = l.y, z = l.z;
        l.x = (REAL)(e[0] * x + e[4] * y + e[8] * z), l.y = (REAL)(e[1] * x + e[5] * y + e[9] * z);
        l.z = (REAL)(e[2] * x + e[6] * y + e[10] * z);
        return;
    }
    REAL q = step.ax * step.ax + step.ay * step.ay + step.az * step.az, even, odd;
    rotor(q, &even, &odd);
    REAL w = 1 + q * even, s = 1 + q * odd;
    Vector v = {step.ax * s, step.ay * s, step.az * s}, back = {-v.x, -v.y, -v.z};
    REAL d1 = -expm1((REAL)-0.5 * step.dt * r1), d2 = -expm1((REAL)-0.5 * step.dt * r2);
    REAL half = (REAL)0.5 * step.dt;
    for (int n = step.parts - 1; n >= 0; --n) {
        Vector before = m;
        advance(before, step, n, r1, r2, m0);
        relax(before, d1, d2, m0);
        Vector after = before;
        rotate(after, w, v);
        by.z += d1 * l.z;
        relax(l, d1, d2, 0);
        by.x += half * (m0 - after.z) * l.z;
        by.y -= half * (after.x * l.x + after.y * l.y);
        rotate(l, w, back);
        by.x += half * (m0 - before.z) * l.z;
        by.y -= half * (before.x * l.x + before.y * l.y);
        Vector t = cross(before, l), across = cross(v, t), a = {step.ax, step.ay, step.az};
        REAL share = (s * even + odd) * dot(a, t), twice = (REAL)2 / step.parts;
        f.x += twice * (s * (w * t.x + across.x) - share * a.x);
        f.y += twice * (s * (w * t.y + across.y) - share * a.y);
        f.z += twice * (s * (w * t.z + across.z) - share * a.z);
        by.z += d1 * l.z;
        relax(l, d1, d2, 0);
    }
}

// One segment backward, steps first .. last - 1. checkpoint: (3, N), M at its start; path:
// (segment, 3, N), scratch; slope: (3, N), l, becomes that at the start; step_slopes: (segment, 6, N),
// written, the last of the columns times dt; spin_slopes: (8, N), added to.
extern "C" __global__ void bloch_back(
    const double* steps, const REAL* brief, long long first, long long last, const double* spins,
    long long num_spins, double tolerance, int follow_rf, const REAL* checkpoint, REAL* path,
    REAL* slope, REAL* step_slopes, double* spin_slopes) {
    long long spin = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (spin >= num_spins) return;
    REAL of[8], sums[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) of[i] = (REAL)spins[i * num_spins + spin], sums[i] = 0;
    Vector m = {checkpoint[spin], checkpoint[num_spins + spin], checkpoint[2 * num_spins + spin]};
    Vector l = {slope[spin], slope[num_spins + spin], slope[2 * num_spins + spin]};
    for (long long k = first; k < last; ++k) {
        REAL* place = path + (k - first) * 3 * num_spins + spin;
        place[0] = m.x, place[num_spins] = m.y, place[2 * num_spins] = m.z;
        Step step = met(steps + 6 * k, brief + 6 * k, spins, num_spins, spin, tolerance, follow_rf);
        advance(m, step, step.parts, of[5], of[6], of[7]);
    }
    for (long long k = last - 1; k >= first; --k) {
        const REAL *place = path + (k - first) * 3 * num_spins + spin, *of_step = brief + 6 * k;
        Step step = met(steps + 6 * k, of_step, spins, num_spins, spin, tolerance, follow_rf);
        Vector f = {0, 0, 0}, by = {0, 0, 0};
        m = {place[0], place[num_spins], place[2 * num_spins]};
        pull(l, step, m, of[5], of[6], of[7], f, by);
        REAL* out = step_slopes + (k - first) * 6 * num_spins + spin;
        out[0] = of[4] * f.x, out[num_spins] = of[4] * f.y;
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            out[(2 + i) * num_spins] = of[i] * f.z;
            sums[i] += of_step[2 + i] * f.z;
        }
        REAL whole = of_step[5];
        out[5 * num_spins] = whole * of[3] * f.z + (of[5] * by.x + of[6] * by.y);
        sums[3] += whole * f.z, sums[4] += of_step[0] * f.x + of_step[1] * f.y;
        sums[5] += by.x, sums[6] += by.y, sums[7] += by.z;
    }
    slope[spin] = l.x, slope[num_spins + spin] = l.y, slope[2 * num_spins + spin] = l.z;
#pragma unroll
    for (int i = 0; i < 8; ++i) spin_slopes[i * num_spins + spin] += sums[i];
}

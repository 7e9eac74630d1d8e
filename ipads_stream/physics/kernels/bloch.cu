// Isochromats on the GPU: one thread per spin, the mathematics of bloch.py. Relaxation and turns of
// steps without RF are left pending: they commute, so the next step with RF or the end applies them.
#define MOST_HALVINGS 6

struct Spin {
    REAL x, y, z;
};

struct Steady {
    double x, y, z;
};

// 1 + q c1 + ... on [0, 1]: cos(sqrt q) and sin(sqrt q)/sqrt q, as in bloch.py
__device__ __forceinline__ void rotor(float q, float* w, float* s) {
    *w = 1.0f + q * (-0.5f + q * (4.166659879322851e-2f + q * (-1.3885490860485739e-3f
        + q * 2.4256144916634526e-5f)));
    *s = 1.0f + q * (-0.16666666647343992f + q * (8.333327148835348e-3f
        + q * (-1.9838174236308515e-4f + q * 2.70606685415231e-6f)));
}

__device__ __forceinline__ void rotor(double q, double* w, double* s) {
    double even = 1.0, odd = 1.0;
#pragma unroll
    for (int n = 8; n > 0; --n) {
        even = 1.0 - q * even / (2 * n * (2 * n - 1));
        odd = 1.0 - q * odd / (2 * n * (2 * n + 1));
    }
    *w = even, *s = odd;
}

__device__ __forceinline__ void relax(Spin& m, REAL d1, REAL d2, REAL m0) {
    m.x -= d2 * m.x, m.y -= d2 * m.y, m.z += d1 * (m0 - m.z);
}

// A turn about z, by exp(2 pi i turns)
__device__ __forceinline__ void precess(Spin& m, double turns) {
    REAL s, c, x = m.x, y = m.y;
    sincospi((REAL)(2.0 * (turns - rint(turns))), &s, &c);
    m.x = c * x - s * y, m.y = s * x + c * y;
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
    Spin& m, double px, double py, double pz, double r1, double r2, double m0) {
    double rf = px * px + py * py, d = r2 * r2 + pz * pz, below = r1 * d + rf * r2;
    double sz = below > 0 ? r1 * m0 / below : 0;
    Steady s = {sz * (py * r2 + px * pz), sz * (py * pz - px * r2), sz * d};
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
    double x = m.x - s.x, y = m.y - s.y, z = m.z - s.z;
    m.x = (REAL)(s.x + a[0] * x + a[1] * y + a[2] * z);
    m.y = (REAL)(s.y + a[3] * x + a[4] * y + a[5] * z);
    m.z = (REAL)(s.z + a[6] * x + a[7] * y + a[8] * z);
}

// steps: (K, 6) half angles by RF about x and y, by gradients per metre, dt; brief: the same in
// REAL; spins: (8, N) x, y, z, half angle by df per second, B1, 1/T1, 1/T2, M0; M: (N, 3), in place.
extern "C" __global__ void bloch(
    const double* steps, const REAL* brief, long long num_steps, const double* spins,
    long long num_spins, double tolerance, REAL* M) {
    long long spin = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (spin >= num_spins) return;
    REAL of[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) of[i] = (REAL)spins[i * num_spins + spin];
    REAL rate = of[5] > of[6] ? of[5] : of[6], limit = (REAL)(144 * tolerance * tolerance);
    Spin m = {M[3 * spin], M[3 * spin + 1], M[3 * spin + 2]};
    REAL pending = 0, time = 0, d1 = 0, d2 = 0;
    double turns = 0;
    for (long long k = 0; k < num_steps; ++k) {
        const REAL* step = brief + 6 * k;
        REAL ax = step[0] * of[4], ay = step[1] * of[4], dt = step[5];
        if (step[0] == 0 && step[1] == 0) {
            const double* exact = steps + 6 * k;
            double half = exact[5] * spins[3 * num_spins + spin];
            for (int i = 0; i < 3; ++i) half += exact[2 + i] * spins[i * num_spins + spin];
            turns += half * 0.3183098861837907, pending += dt;
            continue;
        }
        if (turns != 0) precess(m, turns), turns = 0;
        REAL az = step[2] * of[0] + (step[3] * of[1] + (step[4] * of[2] + dt * of[3]));
        REAL rf = ax * ax + ay * ay, q = az * az + rf, nepers = dt * rate;
        // Squares of the estimated error times 12 and of the half angle, quartered by a halving.
        REAL angle = 2 * sqrt(q) + nepers, error = 4 * rf * angle * angle * nepers * nepers;
        int halvings = 0;
        while (halvings <= MOST_HALVINGS && (q > 1 || error > limit))
            q *= (REAL)0.25, error *= (REAL)0.0625, ++halvings;
        if (halvings > MOST_HALVINGS) {
            relax(m, -expm1(-pending * of[5]), -expm1(-pending * of[6]), of[7]);
            pending = 0;
            exponentiate(m, 2.0 * ax, 2.0 * ay, 2.0 * az, dt * of[5], dt * of[6], of[7]);
            continue;
        }
        int parts = 1 << halvings;
        REAL scale = (REAL)1 / parts, part = dt * scale, w, s;
        rotor(q, &w, &s);
        w += w, s *= scale;
        REAL a = ax * s, b = ay * s, c = az * s;
        pending += (REAL)0.5 * part;
        for (int n = 0; n < parts; ++n) {
            if (time != pending) {
                time = pending;
                d1 = -expm1(-time * of[5]), d2 = -expm1(-time * of[6]);
            }
            relax(m, d1, d2, of[7]);
            REAL tx = b * m.z - c * m.y, ty = c * m.x - a * m.z, tz = a * m.y - b * m.x;
            // The changes are summed first: M is rounded once.
            m.x += w * tx + 2 * (b * tz - c * ty);
            m.y += w * ty + 2 * (c * tx - a * tz);
            m.z += w * tz + 2 * (a * ty - b * tx);
            pending = part;
        }
        pending = (REAL)0.5 * part;
    }
    precess(m, turns);
    relax(m, -expm1(-pending * of[5]), -expm1(-pending * of[6]), of[7]);
    M[3 * spin] = m.x, M[3 * spin + 1] = m.y, M[3 * spin + 2] = m.z;
}

// Extended phase graphs on the GPU: a thread owns one atom and all its orders; ORDERS is a constant
// of the compilation, so that what fits stays in registers, and local memory takes the rest.
// In the frame of the pulse F+ = i exp(i phi) a, F- = -i exp(-i phi) b: see the Numba twin.
#ifndef ORDERS
#define ORDERS 20
#endif
#define PI 3.14159265358979323846

struct alignas(2 * sizeof(REAL)) Pair {
    REAL re, im;
};

// Loops over 4-byte words of state are unrolled only where registers hold them all.
template <int WORDS> struct Unrolled {
    static constexpr int times = ORDERS * WORDS * (sizeof(REAL) / 4) <= 168 ? ORDERS : 1;
};

// Relaxation from pulse to pulse and to the echo, and the rotation; kept while the train repeats.
struct Interval {
    REAL e1, e2, echo, c, s;

    __device__ __forceinline__ void set(const REAL* flip, const REAL* TR, const REAL* TE,
                                        long long n, REAL r1, REAL r2, REAL b1) {
        if (n == 0 || TR[n] != TR[n - 1]) e1 = exp(-TR[n] * r1), e2 = exp(-TR[n] * r2);
        if (n == 0 || TE[n] != TE[n - 1]) echo = exp(-TE[n] * r2);
        if (n == 0 || flip[n] != flip[n - 1]) sincospi(flip[n] * b1, &s, &c);
    }
};

// One pulse and interval: rising orders, a one up and b one down, so that nothing is overwritten.
// Returns the b that leaves order 0.
__device__ __forceinline__ REAL rise(REAL* a, REAL* b, REAL* z, REAL c, REAL s, REAL e1, REAL e2) {
    REAL half = (REAL)0.5 * e2, c2 = half * c, s2 = s * e2, c1 = c * e1, s1 = (REAL)0.5 * s * e1;
    REAL next = a[0], lowest = 0;
#pragma unroll (Unrolled<3>::times)
    for (int k = 0; k < ORDERS; ++k) {
        REAL total = next + b[k], kept = half * (next - b[k]), mixed = c2 * total + s2 * z[k];
        if (k + 1 < ORDERS) next = a[k + 1], a[k + 1] = mixed + kept;
        if (k == 0) lowest = mixed - kept;
        else b[k - 1] = mixed - kept;
        z[k] = c1 * z[k] - s1 * total;
    }
    b[ORDERS - 1] = 0;
    return lowest;
}

extern "C" __global__ void fisp_real(
    const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
    const REAL* T2, const REAL* B1, const REAL* initial, long long atoms, long long num, Pair* out) {
    long long atom = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (atom >= atoms) return;
    REAL r1 = 1 / T1[atom], r2 = 1 / T2[atom], b1 = B1[atom] * (REAL)(1 / PI), x, y;
    REAL a[ORDERS] = {}, b[ORDERS] = {}, z[ORDERS] = {};
    sincospi(phase[0] * (REAL)(1 / PI), &y, &x);
    z[0] = initial[atom];
    Interval now;
    for (long long n = 0; n < num; ++n) {
        now.set(flip, TR, TE, n, r1, r2, b1);
        REAL echo = now.echo * (now.c * a[0] + now.s * z[0]);
        out[atom * num + n] = {-y * echo, x * echo};
        rise(a, b, z, now.c, now.s, now.e1, now.e2);
        a[0] = b[0];
        z[0] += 1 - now.e1;
    }
}

extern "C" __global__ void fisp_complex(
    const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
    const REAL* T2, const REAL* B1, const REAL* initial, long long atoms, long long num, Pair* out) {
    long long atom = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (atom >= atoms) return;
    REAL r1 = 1 / T1[atom], r2 = 1 / T2[atom], b1 = B1[atom] * (REAL)(1 / PI), half = (REAL)0.5;
    Pair a[ORDERS] = {}, b[ORDERS] = {}, z[ORDERS] = {};
    z[0].re = initial[atom];
    Interval now;
    for (long long n = 0; n < num; ++n) {
        now.set(flip, TR, TE, n, r1, r2, b1);
        REAL re = now.echo * (now.c * a[0].re + now.s * z[0].re), im = now.echo * a[0].im, x, y;
        sincospi(phase[n] * (REAL)(1 / PI), &y, &x);
        out[atom * num + n] = {-y * re - x * im, x * re - y * im};
        sincospi((phase[n] - phase[n + 1 < num ? n + 1 : n]) * (REAL)(1 / PI), &y, &x);
        x *= now.e2, y *= now.e2;
        REAL c2 = half * now.c, c1 = now.c * now.e1, s1 = half * now.s * now.e1;
        Pair next = a[0];
#pragma unroll (Unrolled<6>::times)
        for (int k = 0; k < ORDERS; ++k) {
            Pair total = {next.re + b[k].re, next.im + b[k].im};
            REAL m = half * (next.re - b[k].re), i = half * (next.im - b[k].im);
            REAL u = c2 * total.re + now.s * z[k].re, v = c2 * total.im + now.s * z[k].im;
            REAL p = x * u - y * i, q = x * m - y * v, r = x * v + y * m, s = y * u + x * i;
            if (k + 1 < ORDERS) next = a[k + 1], a[k + 1] = {p + q, r + s};
            if (k > 0) b[k - 1] = {p - q, r - s};
            z[k] = {c1 * z[k].re - s1 * total.re, c1 * z[k].im - s1 * total.im};
        }
        b[ORDERS - 1] = {};
        a[0] = {b[0].re, -b[0].im};
        z[0].re += 1 - now.e1;
    }
}

// Echoes; ORDERS is (num + 1) / 2 at least. Row k stands for the order 2 k + 1.
extern "C" __global__ void cpmg(
    REAL spacing, const REAL* T1, const REAL* T2, const REAL* B1, long long atoms, long long num,
    REAL* out) {
    long long atom = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (atom >= atoms) return;
    REAL half = (REAL)0.5, e1 = exp(-spacing / T1[atom]), e2 = exp(-spacing / T2[atom]);
    REAL to_echo = exp(-half * spacing / T2[atom]), c, s;
    REAL a[ORDERS] = {}, b[ORDERS] = {}, z[ORDERS] = {};
    sincospi(half * B1[atom], &s, &c);
    a[0] = s * to_echo;
    sincospi(B1[atom], &s, &c);
    for (long long n = 0; n < num; ++n) {
        REAL mixed = half * c * (a[0] + b[0]) + s * z[0] - half * (a[0] - b[0]);
        out[atom * num + n] = -to_echo * mixed;
        a[0] = -rise(a, b, z, c, s, e1, e2);
    }
}

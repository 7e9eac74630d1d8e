// Extended phase graphs of any train on the GPU: a thread owns one atom. F_k of all orders, positive
// and negative, lies in one row after the other, one number of each atom to a row, and the gradients
// move the origin instead of the rows. See the Numba twin.
#define PI 3.14159265358979323846

struct alignas(2 * sizeof(REAL)) Pair {
    REAL re, im;
};

__device__ __forceinline__ Pair times(REAL x, REAL y, Pair p) {
    return {x * p.re - y * p.im, x * p.im + y * p.re};
}

// work: rows of atoms, first size of F, of which the one at start is F_0 at first, then most of Z,
// all zero; spread: D q^2, Hz; diffusing: whether any is not 0; else as the twin has them.
extern "C" __global__ void train(
    const REAL* flip, const REAL* phase, const REAL* duration, const int* shift, const int* crushed,
    const int* echo, const int* count, const REAL* T1, const REAL* T2, const REAL* B1,
    const REAL* df, const REAL* spread, const REAL* initial, int diffusing, long long atoms,
    long long num, long long start, long long size, Pair* work, long long echoes, Pair* out) {
    long long atom = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (atom >= atoms) return;
    REAL r1 = 1 / T1[atom], r2 = 1 / T2[atom], half = (REAL)0.5;
    Pair *F = work + start * atoms + atom, *Z = work + size * atoms + atom;
    Z[0].re = initial[atom];
    int kept = 1;
    long long column = 0;
    for (long long n = 0; n < num; ++n) {
        REAL t = duration[n], e1 = exp(-t * r1), e2 = exp(-t * r2), m = shift[n], c, s, x, y, u, v;
        sincospi(flip[n] * B1[atom] * (REAL)(1 / PI), &s, &c);
        sincospi(phase[n] * (REAL)(1 / PI), &x, &y);
        REAL turns = df[atom] * t, b = spread[atom] * t;
        sincospi(2 * (turns - rint(turns)), &v, &u);
        x = -x, u *= e2, v *= e2;
        Pair back = times(x, y, {u, -v});  // i exp(i phase) and the interval after it
        for (int k = 0; k < kept; ++k) {
            Pair p = times(x, -y, F[k * atoms]), q = times(x, -y, F[-k * atoms]), z = Z[k * atoms];
            Pair total = {p.re + q.re, p.im - q.im};
            Pair rest = {half * (p.re - q.re), half * (p.im + q.im)};
            Pair mixed = {half * c * total.re + s * z.re, half * c * total.im + s * z.im};
            p = times(back.re, back.im, {mixed.re + rest.re, mixed.im + rest.im});
            q = times(back.re, back.im, {mixed.re - rest.re, rest.im - mixed.im});
            z = {e1 * (c * z.re - half * s * total.re), e1 * (c * z.im - half * s * total.im)};
            if (diffusing) {
                REAL kk = (REAL)k * k, third = m * m * (REAL)(1. / 3.);
                p = times(exp(-b * (kk + k * m + third)), 0, p);
                q = times(exp(-b * (kk - k * m + third)), 0, q);
                z = times(exp(-b * kk), 0, z);
            }
            F[k * atoms] = p, F[-k * atoms] = q, Z[k * atoms] = z;
        }
        Z[0].re += 1 - e1;
        if (crushed[n])
            for (int k = 1 - kept; k < kept; ++k) F[k * atoms] = {};
        F -= shift[n] * atoms;
        int moved = shift[n] < 0 ? -shift[n] : shift[n];
        // Orders that are left out must not come back.
        for (int k = count[n]; k < kept + moved; ++k) F[k * atoms] = {}, F[-k * atoms] = {};
        for (int k = count[n]; k < kept; ++k) Z[k * atoms] = {};
        kept = count[n];
        if (echo[n]) out[atom * echoes + column++] = F[0];
    }
}

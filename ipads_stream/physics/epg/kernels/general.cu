// Extended phase graphs of any train on the GPU: LANES of a warp own one atom and take its orders in
// turn. F_k of all orders, positive and negative, lies on a ring of LENGTH numbers, and the gradients
// move the origin instead of the numbers; those of the atoms of a warp lie side by side, in shared
// memory where ON_CHIP. See the Numba twin.
#ifndef LENGTH
#define LENGTH 128
#define LANES 4
#define ON_CHIP 1
#endif
#define WARP 32
#define WARPS 4  // of a thread block at most
#define ATOMS (WARP / LANES)
#define ROWS (LENGTH + LENGTH / 2)  // of F, then of Z
#define PI 3.14159265358979323846

struct alignas(2 * sizeof(REAL)) Pair {
    REAL re, im;
};

__device__ __forceinline__ Pair times(REAL x, REAL y, Pair p) {
    return {x * p.re - y * p.im, x * p.im + y * p.re};
}

// What order 0 is now lies at origin.
struct Rows {
    Pair* of;
    int origin;

    __device__ __forceinline__ Pair& F(int k) { return of[((origin + k) & (LENGTH - 1)) * ATOMS]; }
    __device__ __forceinline__ Pair& Z(int k) { return of[(LENGTH + k) * ATOMS]; }
};

// work: (warps, ROWS, ATOMS) where the rows are not on the chip; spread: D q^2, Hz; diffusing:
// whether any is not 0; else as the twin has them.
extern "C" __global__ void train(
    const REAL* flip, const REAL* phase, const REAL* duration, const int* shift, const int* crushed,
    const int* echo, const int* count, const REAL* T1, const REAL* T2, const REAL* B1,
    const REAL* df, const REAL* spread, const REAL* initial, int diffusing, long long atoms,
    long long num, Pair* work, long long echoes, Pair* out) {
    __shared__ Pair shared[ON_CHIP ? WARPS * ROWS * ATOMS : 1];
    long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x, atom = item / LANES;
    int lane = item % LANES, kept = 1;
    Pair* mine = ON_CHIP ? shared + threadIdx.x / WARP * ROWS * ATOMS
                         : work + item / WARP * ROWS * ATOMS;
    Rows rows = {mine + threadIdx.x % WARP / LANES, 0};
    bool writes = atom < atoms;
    if (!writes) atom = atoms - 1;  // lanes of a warp stay together
    for (int k = lane; k < ROWS; k += LANES) rows.of[k * ATOMS] = {};
    if (lane == 0) rows.Z(0).re = initial[atom];
    REAL r1 = 1 / T1[atom], r2 = 1 / T2[atom], half = (REAL)0.5;
    out += atom * echoes;
    for (long long n = 0; n < num; ++n) {
        REAL t = duration[n], e1 = exp(-t * r1), e2 = exp(-t * r2), m = shift[n], c, s, x, y, u, v;
        sincospi(flip[n] * B1[atom] * (REAL)(1 / PI), &s, &c);
        sincospi(phase[n] * (REAL)(1 / PI), &x, &y);
        REAL turns = df[atom] * t, b = spread[atom] * t;
        sincospi(2 * (turns - rint(turns)), &v, &u);
        x = -x, u *= e2, v *= e2;
        Pair back = times(x, y, {u, -v});  // i exp(i phase) and the interval after it
        __syncwarp();
        for (int k = lane; k < kept; k += LANES) {
            Pair p = times(x, -y, rows.F(k)), q = times(x, -y, rows.F(-k)), z = rows.Z(k);
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
            if (k == 0) z.re += 1 - e1;
            if (crushed[n]) p = q = {};
            rows.F(k) = p, rows.F(-k) = q, rows.Z(k) = z;
        }
        rows.origin -= shift[n];
        int moved = shift[n] < 0 ? -shift[n] : shift[n];
        __syncwarp();
        // Orders that are left out must not come back.
        for (int k = count[n] + lane; k < kept + moved; k += LANES) rows.F(k) = rows.F(-k) = {};
        for (int k = count[n] + lane; k < kept; k += LANES) rows.Z(k) = {};
        kept = count[n];
        __syncwarp();
        if (echo[n]) {
            if (lane == 0 && writes) *out = rows.F(0);
            ++out;
        }
    }
}

// Orders of an extended phase graph, as steps.py has them: LANES of a warp own one atom, each OWN
// neighbouring orders in its registers; ORDERS and LANES are constants of the compilation. What
// rises from a lane's last order and falls from its first goes to its neighbours.
#ifndef ORDERS
#define ORDERS 20
#endif
#ifndef LANES
#define LANES 1
#endif
#define OWN ((ORDERS + LANES - 1) / LANES)
#define PI 3.14159265358979323846
#define ALL 0xFFFFFFFFu
#define HERE __device__ __forceinline__

struct Single {
    REAL re;
};
struct alignas(2 * sizeof(REAL)) Pair {
    REAL re, im;
};

HERE Single conjugate(Single p) { return p; }
HERE Pair conjugate(Pair p) { return {p.re, -p.im}; }
HERE Single operator-(Single p) { return {-p.re}; }

// Of the lane below, above and the first; a lane without neighbour gets zero.
HERE REAL below(REAL x) { return __shfl_up_sync(ALL, x, 1, LANES); }
HERE REAL above(REAL x) { return __shfl_down_sync(ALL, x, 1, LANES); }
HERE REAL lowest(REAL x) { return __shfl_sync(ALL, x, 0, LANES); }
HERE Single below(Single p) { return {below(p.re)}; }
HERE Single above(Single p) { return {above(p.re)}; }
HERE Single lowest(Single p) { return {lowest(p.re)}; }
HERE Pair below(Pair p) { return {below(p.re), below(p.im)}; }
HERE Pair above(Pair p) { return {above(p.re), above(p.im)}; }
HERE Pair lowest(Pair p) { return {lowest(p.re), lowest(p.im)}; }

// The atom and the lane of a thread; lanes beyond the last atom repeat it and write nothing, as
// those of a warp stay together.
struct Owner {
    long long atom;
    int lane;
    bool writes;

    HERE Owner(long long atoms) {
        long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;
        atom = item / LANES, lane = item % LANES, writes = atom < atoms;
        if (!writes) atom = atoms - 1;
    }
};

// Relaxation from pulse to pulse and to the echo, and the rotation, kept while the train repeats;
// the turn of the frame, with e2.
struct Interval {
    REAL e1, e2, echo, c, s, x, y;

    // before: the pulse that was set last, negative where there is none.
    HERE void set(const REAL* flip, const REAL* TR, const REAL* TE, long long n, long long before,
                  REAL r1, REAL r2, REAL b1) {
        if (before < 0 || TR[n] != TR[before]) e1 = exp(-TR[n] * r1), e2 = exp(-TR[n] * r2);
        if (before < 0 || TE[n] != TE[before]) echo = exp(-TE[n] * r2);
        if (before < 0 || flip[n] != flip[before]) sincospi(flip[n] * b1, &s, &c);
        x = e2, y = 0;
    }
    HERE void turn(REAL phase) {
        sincospi(phase * (REAL)(1 / PI), &y, &x);
        x *= e2, y *= e2;
    }
};

// What rises and falls of one order, and Z.
HERE void step(const Interval& now, Single a, Single b, Single& z, Single& up, Single& down) {
    REAL half = (REAL)0.5 * now.x, c2 = half * now.c, s2 = now.s * now.x;
    REAL total = a.re + b.re, kept = half * (a.re - b.re), mixed = c2 * total + s2 * z.re;
    up = {mixed + kept}, down = {mixed - kept};
    z = {now.c * now.e1 * z.re - (REAL)0.5 * now.s * now.e1 * total};
}
HERE void step(const Interval& now, Pair a, Pair b, Pair& z, Pair& up, Pair& down) {
    REAL half = (REAL)0.5, c2 = half * now.c, c1 = now.c * now.e1, s1 = half * now.s * now.e1;
    Pair total = {a.re + b.re, a.im + b.im};
    REAL m = half * (a.re - b.re), i = half * (a.im - b.im);
    REAL u = c2 * total.re + now.s * z.re, v = c2 * total.im + now.s * z.im;
    REAL p = now.x * u - now.y * i, q = now.x * m - now.y * v;
    REAL r = now.x * v + now.y * m, s = now.y * u + now.x * i;
    up = {p + q, r + s}, down = {p - q, r - s};
    z = {c1 * z.re - s1 * total.re, c1 * z.im - s1 * total.im};
}

template <class V> struct Orders {
    V a[OWN] = {}, b[OWN] = {}, z[OWN] = {};

    // One pulse and interval: a rises and b falls by one order. Returns the b that leaves order 0,
    // known to the first lane, whose a of order 0 is left to the caller.
    HERE V rise(const Interval& now, const Owner& owner) {
        V last = {}, first = {}, next = a[0];
#pragma unroll
        for (int k = 0; k < OWN; ++k) {
            V up, down, here = next;
            if (k + 1 < OWN) next = a[k + 1];
            step(now, here, b[k], z[k], up, down);
            if (k + 1 < OWN) a[k + 1] = up;
            else last = up;
            if (k > 0) b[k - 1] = down;
            else first = down;
        }
        b[OWN - 1] = {};
        if (LANES > 1) {
            V from_below = below(last), from_above = above(first);
            a[0] = from_below;
            if (owner.lane + 1 < LANES) b[OWN - 1] = from_above;
            // Orders beyond the last must not come back.
            if (OWN * LANES > ORDERS && owner.lane == ORDERS / OWN) a[ORDERS % OWN] = {};
        }
        return first;
    }
};

template <class V> struct Frame;  // whether every pulse has its own
template <> struct Frame<Single> { static constexpr bool own = false; };
template <> struct Frame<Pair> { static constexpr bool own = true; };

// Extended phase graphs on the GPU: lanes of a warp own one atom and its orders. In the frame of the
// pulse F+ = i exp(i phi) a, F- = -i exp(-i phi) b: see the Numba twin.
#include "orders.cu"

// Echoes of an atom on their way to memory: four of one thread, or one of each lane, are written
// together.
template <class V> struct Echoes {
    static constexpr int held = 16 / sizeof(V) > 1 ? 16 / sizeof(V) : 1;
    static constexpr int gathered = LANES > 1 ? LANES : 4;
    struct alignas(16) Together {
        V of[held];
    };
    const Owner& owner;
    V *row, kept[4] = {};
    int num;

    HERE Echoes(const Owner& owner, int num, V* out)
        : owner(owner), row(out + owner.atom * num), num(num) {}

    HERE void put(int n, V echo) {
        int place = n & (gathered - 1);
        bool last = place == gathered - 1 || n + 1 == num;
        if (LANES > 1) {
            echo = lowest(echo);
            if (place == owner.lane) kept[0] = echo;
            if (last && owner.lane <= place && owner.writes) row[n - place + owner.lane] = kept[0];
            return;
        }
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (place == i) kept[i] = echo;
        if (!last || !owner.writes) return;
        V* to = row + (n - place);
        if (num % 4 == 0) {
#pragma unroll
            for (int i = 0; i < 4; i += held) {
                Together part;
#pragma unroll
                for (int j = 0; j < held; ++j) part.of[j] = kept[i + j];
                *reinterpret_cast<Together*>(to + i) = part;
            }
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                if (i <= place) to[i] = kept[i];
        }
    }
};

// The echo, i exp(i phase) off its pulse: x + i y is exp(i phase).
HERE Pair echo_of(const Interval& now, Single a, Single z, REAL x, REAL y) {
    REAL echo = now.echo * (now.c * a.re + now.s * z.re);
    return {-y * echo, x * echo};
}
HERE Pair echo_of(const Interval& now, Pair a, Pair z, REAL x, REAL y) {
    REAL re = now.echo * (now.c * a.re + now.s * z.re), im = now.echo * a.im;
    return {-y * re - x * im, x * re - y * im};
}
template <class V>
HERE void fisp(const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
               const REAL* T2, const REAL* B1, const REAL* initial, long long atoms, long long num,
               Pair* out) {
    Owner owner(atoms);
    REAL r1 = 1 / T1[owner.atom], r2 = 1 / T2[owner.atom], b1 = B1[owner.atom] * (REAL)(1 / PI);
    REAL x, y;
    sincospi(phase[0] * (REAL)(1 / PI), &y, &x);
    Orders<V> orders;
    Echoes<Pair> echoes(owner, num, out);
    Interval now;
    if (owner.lane == 0) orders.z[0].re = initial[owner.atom];
    for (int n = 0; n < num; ++n) {
        now.set(flip, TR, TE, n, n - 1, r1, r2, b1);
        if (Frame<V>::own) sincospi(phase[n] * (REAL)(1 / PI), &y, &x);
        echoes.put(n, echo_of(now, orders.a[0], orders.z[0], x, y));
        if (Frame<V>::own) now.turn(phase[n] - phase[n + 1 < num ? n + 1 : n]);
        orders.rise(now, owner);
        if (owner.lane == 0) {
            orders.a[0] = conjugate(orders.b[0]);
            orders.z[0].re += 1 - now.e1;
        }
    }
}

extern "C" __global__ void fisp_real(
    const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
    const REAL* T2, const REAL* B1, const REAL* initial, long long atoms, long long num, Pair* out) {
    fisp<Single>(flip, phase, TR, TE, T1, T2, B1, initial, atoms, num, out);
}

extern "C" __global__ void fisp_complex(
    const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
    const REAL* T2, const REAL* B1, const REAL* initial, long long atoms, long long num, Pair* out) {
    fisp<Pair>(flip, phase, TR, TE, T1, T2, B1, initial, atoms, num, out);
}

// Echoes; ORDERS is (num + 1) / 2 at least. Row k stands for the order 2 k + 1.
extern "C" __global__ void cpmg(
    REAL spacing, const REAL* T1, const REAL* T2, const REAL* B1, long long atoms, long long num,
    REAL* out) {
    Owner owner(atoms);
    REAL half = (REAL)0.5, r1 = 1 / T1[owner.atom], r2 = 1 / T2[owner.atom], c, s;
    Interval now;
    now.e1 = exp(-spacing * r1), now.x = exp(-spacing * r2), now.echo = exp(-half * spacing * r2);
    sincospi(half * B1[owner.atom], &s, &c);
    sincospi(B1[owner.atom], &now.s, &now.c);
    Orders<Single> orders;
    Echoes<REAL> echoes(owner, num, out);
    if (owner.lane == 0) orders.a[0] = {s * now.echo};
    for (int n = 0; n < num; ++n) {
        REAL a = orders.a[0].re, b = orders.b[0].re;
        REAL mixed = half * now.c * (a + b) + now.s * orders.z[0].re - half * (a - b);
        echoes.put(n, -now.echo * mixed);
        Single lowest = orders.rise(now, owner);
        if (owner.lane == 0) orders.a[0] = -lowest;
    }
}

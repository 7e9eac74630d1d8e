// Derivatives of extended phase graphs on the GPU: a thread owns one atom. The same registers hold
// its state on the way forwards and the cotangent of it on the way back; the states of one segment
// of the train, and those where segments begin, lie in global memory. See the Numba twin.
#ifndef ORDERS
#define ORDERS 20
#endif
#define PI 3.14159265358979323846

struct Single {
    REAL re;
};
struct alignas(2 * sizeof(REAL)) Pair {
    REAL re, im;
};

#define HERE __device__ __forceinline__
HERE Single operator+(Single p, Single q) { return {p.re + q.re}; }
HERE Single operator-(Single p, Single q) { return {p.re - q.re}; }
HERE Single operator*(REAL x, Single p) { return {x * p.re}; }
HERE Single conjugate(Single p) { return p; }
HERE Single turned(Single p, REAL x, REAL) { return {x * p.re}; }
HERE REAL dot(Single p, Single q) { return p.re * q.re; }
HERE REAL wedge(Single, Single) { return 0; }
HERE Pair operator+(Pair p, Pair q) { return {p.re + q.re, p.im + q.im}; }
HERE Pair operator-(Pair p, Pair q) { return {p.re - q.re, p.im - q.im}; }
HERE Pair operator*(REAL x, Pair p) { return {x * p.re, x * p.im}; }
HERE Pair conjugate(Pair p) { return {p.re, -p.im}; }
HERE Pair turned(Pair p, REAL x, REAL y) { return {x * p.re - y * p.im, x * p.im + y * p.re}; }
HERE REAL dot(Pair p, Pair q) { return p.re * q.re + p.im * q.im; }
HERE REAL wedge(Pair p, Pair q) { return p.im * q.re - p.re * q.im; }

// Loops over 4-byte words are unrolled only where registers hold them all and what is read beside.
template <class V> struct Unrolled {
    static constexpr int times = 3 * ORDERS * (sizeof(V) / 4) <= 84 ? ORDERS : 1;
};

// Relaxation from pulse to pulse and to the echo, the rotation, and the turn of the frame with e2.
struct Interval {
    REAL e1, e2, echo, c, s, x, y;

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

struct Moments {
    REAL A = 0, W = 0, V = 0, Q = 0, E = 0, F = 0;
};

template <class V> struct Orders {
    V a[ORDERS] = {}, b[ORDERS] = {}, z[ORDERS] = {};

    HERE void load(const V* from, long long atoms) {
#pragma unroll (Unrolled<V>::times)
        for (int k = 0; k < ORDERS; ++k)
            a[k] = from[3 * k * atoms], b[k] = from[(3 * k + 1) * atoms],
            z[k] = from[(3 * k + 2) * atoms];
    }
    HERE void store(V* to, long long atoms) const {
#pragma unroll (Unrolled<V>::times)
        for (int k = 0; k < ORDERS; ++k)
            to[3 * k * atoms] = a[k], to[(3 * k + 1) * atoms] = b[k],
            to[(3 * k + 2) * atoms] = z[k];
    }
    // A pulse and its interval; returns the b that leaves order 0.
    HERE V rise(const Interval& now) {
        REAL half = (REAL)0.5, c2 = half * now.c, c1 = now.c * now.e1, s1 = half * now.s * now.e1;
        V next = a[0], lowest = {};
#pragma unroll (Unrolled<V>::times)
        for (int k = 0; k < ORDERS; ++k) {
            V total = next + b[k], kept = half * (next - b[k]), mixed = c2 * total + now.s * z[k];
            V down = turned(mixed - kept, now.x, -now.y);
            if (k + 1 < ORDERS) next = a[k + 1], a[k + 1] = turned(mixed + kept, now.x, now.y);
            if (k == 0) lowest = down;
            else b[k - 1] = down;
            z[k] = c1 * z[k] - s1 * total;
        }
        b[ORDERS - 1] = {};
        return lowest;
    }
    // The transpose: below is what enters b at order 0; up, down: the echo's share of a and b.
    HERE Moments fall(const Interval& now, const V* states, long long atoms, V below, V up, V down) {
        REAL half = (REAL)0.5, c2 = half * now.c, c1 = now.c * now.e1, s1 = half * now.s * now.e1;
        Moments m;
#pragma unroll (Unrolled<V>::times)
        for (int k = 0; k < ORDERS; ++k) {
            V above = {};
            if (k + 1 < ORDERS) above = a[k + 1];
            V p = turned(above, now.x, -now.y), q = turned(below, now.x, now.y);
            if (k == 0) p = p + up, q = q + down;
            V total = p + q, kept = half * (p - q), mixed = c2 * total - s1 * z[k];
            below = b[k];
            a[k] = mixed + kept, b[k] = mixed - kept, z[k] = now.s * total + c1 * z[k];
            V a_ = states[3 * k * atoms], b_ = states[(3 * k + 1) * atoms];
            V z_ = states[(3 * k + 2) * atoms];
            m.A += (dot(a[k], z_) + dot(b[k], z_)) - half * dot(z[k], a_ + b_);
            m.W += dot(a[k], a_) + dot(b[k], b_);
            m.V += dot(z[k], z_);
            m.Q += wedge(a[k], a_) - wedge(b[k], b_);
        }
        return m;
    }
};

// The echo in the frame of its pulse, and what is the slope of it there; x + i y: i exp(i phase).
HERE Single echo_of(const Interval& now, Single a, Single z) {
    return {now.echo * (now.c * a.re + now.s * z.re)};
}
HERE Pair echo_of(const Interval& now, Pair a, Pair z) {
    return {now.echo * (now.c * a.re + now.s * z.re), now.echo * a.im};
}
HERE void place(Pair g, REAL x, REAL y, Single* out) { *out = {x * g.re + y * g.im}; }
HERE void place(Pair g, REAL x, REAL y, Pair* out) {
    *out = {x * g.re + y * g.im, x * g.im - y * g.re};
}
template <class V> struct Frame;  // whether every pulse has its own
template <> struct Frame<Single> { static constexpr bool own = false; };
template <> struct Frame<Pair> { static constexpr bool own = true; };

template <class V>
HERE void fisp(const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
               const REAL* T2, const REAL* B1, const REAL* initial, const Pair* cotangent,
               long long atoms, long long num, long long length, V* work, REAL* by_atom,
               REAL* by_pulse) {
    long long atom = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (atom >= atoms) return;
    REAL r1 = 1 / T1[atom], r2 = 1 / T2[atom], b1 = B1[atom] * (REAL)(1 / PI), x, y;
    const long long page = 3 * ORDERS * atoms, last = (num - 1) / length;
    V *kept = work + length * page + atom, *back = kept + (last + 1) * page;
    work += atom, by_pulse += atom;
    Orders<V> now;
    Interval step;
    REAL to_T1 = 0, to_T2 = 0, to_B1 = 0, after = 0, first = 0;
    now.z[0].re = initial[atom];
    for (long long n = 0; n < last * length; ++n) {
        if (n % length == 0) now.store(kept + n / length * page, atoms);
        step.set(flip, TR, TE, n, n - 1, r1, r2, b1);
        if (Frame<V>::own) step.turn(phase[n] - phase[n + 1]);
        now.rise(step);
        now.a[0] = conjugate(now.b[0]), now.z[0].re += 1 - step.e1;
    }
    now.store(kept + last * page, atoms);
    now = Orders<V>();
    now.store(back, atoms);
    sincospi(phase[0] * (REAL)(1 / PI), &y, &x);
    for (long long segment = last; segment >= 0; --segment) {
        long long start = segment * length, stop = start + length < num ? start + length : num;
        now.load(kept + segment * page, atoms);
        for (long long n = start; n < stop; ++n) {
            now.store(work + (n - start) * page, atoms);
            if (n + 1 == stop) break;
            step.set(flip, TR, TE, n, n == start ? -1 : n - 1, r1, r2, b1);
            if (Frame<V>::own) step.turn(phase[n] - phase[n + 1]);
            now.rise(step);
            now.a[0] = conjugate(now.b[0]), now.z[0].re += 1 - step.e1;
        }
        now.load(back, atoms);
        for (long long n = stop - 1; n >= start; --n) {
            const V* states = work + (n - start) * page;
            V slope;
            step.set(flip, TR, TE, n, n + 1 == stop ? -1 : n + 1, r1, r2, b1);
            if (Frame<V>::own) {
                step.turn(phase[n] - phase[n + 1 < num ? n + 1 : n]);
                sincospi(phase[n] * (REAL)(1 / PI), &y, &x);
            }
            place(cotangent[atom * num + n], -y, x, &slope);
            V echo = echo_of(step, states[0], states[2 * atoms]);
            now.b[0] = now.b[0] + conjugate(now.a[0]);
            Moments m = now.fall(step, states, atoms, V{}, step.echo * slope, V{});
            first = now.z[0].re;
            REAL before = n ? TR[n - 1] : 0, grown = m.V - first, shown = dot(slope, echo);
            to_T1 += before * grown, to_T2 += before * m.W + TE[n] * shown, to_B1 += flip[n] * m.A;
            by_pulse[n * atoms] = B1[atom] * m.A;
            by_pulse[(num + n) * atoms] = after + wedge(slope, echo) - m.Q;
            by_pulse[(2 * num + (n ? n : num) - 1) * atoms] = n ? -m.W * r2 - grown * r1 : 0;
            by_pulse[(3 * num + n) * atoms] = -shown * r2;
            after = m.Q;
        }
        now.store(back, atoms);
    }
    by_atom[atom] = to_T1 * r1 * r1;
    by_atom[atoms + atom] = to_T2 * r2 * r2;
    by_atom[2 * atoms + atom] = to_B1;
    by_atom[3 * atoms + atom] = first;
}

// cotangent: (atoms, num); work: (length + ceil(num / length) + 1, 3 ORDERS, atoms) of V; by_atom:
// (4, atoms), T1, T2, B1, initial; by_pulse: (4, num, atoms), flip, phase, TR, TE.
extern "C" __global__ void fisp_real(
    const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
    const REAL* T2, const REAL* B1, const REAL* initial, const Pair* cotangent, long long atoms,
    long long num, long long length, Single* work, REAL* by_atom, REAL* by_pulse) {
    fisp<Single>(flip, phase, TR, TE, T1, T2, B1, initial, cotangent, atoms, num, length, work,
                 by_atom, by_pulse);
}

extern "C" __global__ void fisp_complex(
    const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
    const REAL* T2, const REAL* B1, const REAL* initial, const Pair* cotangent, long long atoms,
    long long num, long long length, Pair* work, REAL* by_atom, REAL* by_pulse) {
    fisp<Pair>(flip, phase, TR, TE, T1, T2, B1, initial, cotangent, atoms, num, length, work,
               by_atom, by_pulse);
}

// cotangent: (atoms, num), real; by_atom: (4, atoms), spacing, T1, T2, B1; work as above.
extern "C" __global__ void cpmg(
    REAL spacing, const REAL* T1, const REAL* T2, const REAL* B1, const REAL* cotangent,
    long long atoms, long long num, long long length, Single* work, REAL* by_atom) {
    long long atom = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (atom >= atoms) return;
    REAL half = (REAL)0.5, r1 = 1 / T1[atom], r2 = 1 / T2[atom], c, s;
    Interval step;
    step.e1 = exp(-spacing * r1), step.e2 = exp(-spacing * r2), step.echo = exp(-half * spacing * r2);
    step.x = step.e2, step.y = 0;
    sincospi(B1[atom], &step.s, &step.c);
    sincospi(half * B1[atom], &s, &c);
    const long long page = 3 * ORDERS * atoms, last = (num - 1) / length;
    Single *kept = work + length * page + atom, *back = kept + (last + 1) * page;
    work += atom;
    Orders<Single> now;
    now.a[0].re = s * step.echo;
    for (long long n = 0; n < last * length; ++n) {
        if (n % length == 0) now.store(kept + n / length * page, atoms);
        now.a[0].re = -now.rise(step).re;
    }
    now.store(kept + last * page, atoms);
    now = Orders<Single>();
    now.store(back, atoms);
    REAL angle = 0, grown = 0, decayed = 0, excited = 0;
    for (long long segment = last; segment >= 0; --segment) {
        long long start = segment * length, stop = start + length < num ? start + length : num;
        now.load(kept + segment * page, atoms);
        for (long long n = start; n < stop; ++n) {
            now.store(work + (n - start) * page, atoms);
            if (n + 1 < stop) now.a[0].re = -now.rise(step).re;
        }
        now.load(back, atoms);
        for (long long n = stop - 1; n >= start; --n) {
            const Single* states = work + (n - start) * page;
            REAL a = states[0].re, b = states[atoms].re, z = states[2 * atoms].re;
            REAL slope = step.echo * cotangent[atom * num + n];
            REAL mixed = half * step.c * (a + b) + step.s * z - half * (a - b);
            Moments m = now.fall(step, states, atoms, {-now.a[0].re}, {}, {-slope});
            angle += m.A, grown += m.V, decayed += (n ? m.W : half * m.W) - half * slope * mixed;
            excited = now.a[0].re;
        }
        now.store(back, atoms);
    }
    by_atom[atom] = -grown * r1 - decayed * r2;
    by_atom[atoms + atom] = grown * spacing * r1 * r1;
    by_atom[2 * atoms + atom] = decayed * spacing * r2 * r2;
    by_atom[3 * atoms + atom] = (REAL)PI * (angle + half * excited * c * step.echo);
}

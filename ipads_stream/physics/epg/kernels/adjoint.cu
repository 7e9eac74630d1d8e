// Derivatives of extended phase graphs on the GPU: lanes of a warp own one atom and its orders. The
// same registers hold its state on the way forwards and the cotangent of it on the way back; the
// states of one segment of the train, and those where segments begin, lie in global memory, a column
// per lane. See the Numba twin.
#include "orders.cu"

HERE Single operator+(Single p, Single q) { return {p.re + q.re}; }
HERE Single operator-(Single p, Single q) { return {p.re - q.re}; }
HERE Single operator*(REAL x, Single p) { return {x * p.re}; }
HERE Single turned(Single p, REAL x, REAL) { return {x * p.re}; }
HERE REAL dot(Single p, Single q) { return p.re * q.re; }
HERE REAL wedge(Single, Single) { return 0; }
HERE Pair operator+(Pair p, Pair q) { return {p.re + q.re, p.im + q.im}; }
HERE Pair operator-(Pair p, Pair q) { return {p.re - q.re, p.im - q.im}; }
HERE Pair operator*(REAL x, Pair p) { return {x * p.re, x * p.im}; }
HERE Pair turned(Pair p, REAL x, REAL y) { return {x * p.re - y * p.im, x * p.im + y * p.re}; }
HERE REAL dot(Pair p, Pair q) { return p.re * q.re + p.im * q.im; }
HERE REAL wedge(Pair p, Pair q) { return p.im * q.re - p.re * q.im; }

struct Moments {
    REAL A = 0, W = 0, V = 0, Q = 0;

    // Over the lanes of an atom; the first has them all.
    HERE void sum() {
#pragma unroll
        for (int by = LANES / 2; by > 0; by /= 2) {
            A += __shfl_down_sync(ALL, A, by, LANES), W += __shfl_down_sync(ALL, W, by, LANES);
            V += __shfl_down_sync(ALL, V, by, LANES), Q += __shfl_down_sync(ALL, Q, by, LANES);
        }
    }
};

struct alignas(16) Four {
    REAL of[4];
};

// The state of a lane, in memory as fours of numbers, those of all lanes side by side.
template <class V> struct Kept : Orders<V> {
    static constexpr int parts = sizeof(V) / sizeof(REAL), words = 3 * OWN * parts;
    static constexpr int fours = (words + 3) / 4;

    HERE REAL& word(int i) {
        V* row = i / parts % 3 == 0 ? this->a : i / parts % 3 == 1 ? this->b : this->z;
        return reinterpret_cast<REAL*>(row + i / (3 * parts))[i % parts];
    }
    HERE void load(const Four* from, long long row) {
#pragma unroll
        for (int i = 0; i < fours; ++i) {
            Four some = from[i * row];
#pragma unroll
            for (int j = 0; j < 4; ++j)
                if (4 * i + j < words) word(4 * i + j) = some.of[j];
        }
    }
    HERE void store(Four* to, long long row) {
#pragma unroll
        for (int i = 0; i < fours; ++i) {
            Four some = {};
#pragma unroll
            for (int j = 0; j < 4; ++j)
                if (4 * i + j < words) some.of[j] = word(4 * i + j);
            to[i * row] = some;
        }
    }
    // The transpose of a pulse and its interval. bottom: what enters b at order 0; up, down: the
    // echo's share of a and b there.
    HERE Moments fall(const Interval& now, const Owner& owner, const Orders<V>& state, V bottom, V up,
                      V down) {
        V *a = this->a, *b = this->b, *z = this->z;
        if (OWN * LANES > ORDERS && owner.lane == ORDERS / OWN) a[ORDERS % OWN] = {};
        V top = {};
        if (LANES > 1) {
            V from_above = above(a[0]), from_below = below(b[OWN - 1]);
            if (owner.lane + 1 < LANES) top = from_above;
            if (owner.lane > 0) bottom = from_below, up = {}, down = {};
        }
        REAL half = (REAL)0.5, c2 = half * now.c, c1 = now.c * now.e1, s1 = half * now.s * now.e1;
        Moments m;
#pragma unroll
        for (int k = 0; k < OWN; ++k) {
            V p = turned(k + 1 < OWN ? a[k + 1] : top, now.x, -now.y), q = turned(bottom, now.x, now.y);
            if (k == 0) p = p + up, q = q + down;
            V total = p + q, kept = half * (p - q), mixed = c2 * total - s1 * z[k];
            bottom = b[k];
            a[k] = mixed + kept, b[k] = mixed - kept, z[k] = now.s * total + c1 * z[k];
            V a_ = state.a[k], b_ = state.b[k], z_ = state.z[k];
            m.A += (dot(a[k], z_) + dot(b[k], z_)) - half * dot(z[k], a_ + b_);
            m.W += dot(a[k], a_) + dot(b[k], b_);
            m.V += dot(z[k], z_);
            m.Q += wedge(a[k], a_) - wedge(b[k], b_);
        }
        m.sum();
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

// One pulse of a train forwards, to the state before the next.
template <class V> HERE void pass(Kept<V>& now, const Interval& step, const Owner& owner) {
    now.rise(step, owner);
    if (owner.lane == 0) now.a[0] = conjugate(now.b[0]), now.z[0].re += 1 - step.e1;
}

template <class V>
HERE void fisp(const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
               const REAL* T2, const REAL* B1, const REAL* initial, const Pair* cotangent,
               long long atoms, long long num, long long length, Four* work, REAL* by_atom,
               REAL* by_pulse) {
    Owner owner(atoms);
    const long long atom = owner.atom, row = atoms * LANES, column = atom * LANES + owner.lane;
    REAL r1 = 1 / T1[atom], r2 = 1 / T2[atom], b1 = B1[atom] * (REAL)(1 / PI), x, y;
    const long long page = Kept<V>::fours * row, last = (num - 1) / length;
    Four *kept = work + length * page + column, *back = kept + (last + 1) * page;
    work += column, by_pulse += atom;
    Kept<V> now;
    Interval step;
    REAL to_T1 = 0, to_T2 = 0, to_B1 = 0, after = 0, first = 0;
    if (owner.lane == 0) now.z[0].re = initial[atom];
    for (long long n = 0; n < last * length; ++n) {
        if (n % length == 0 && owner.writes) now.store(kept + n / length * page, row);
        step.set(flip, TR, TE, n, n - 1, r1, r2, b1);
        if (Frame<V>::own) step.turn(phase[n] - phase[n + 1]);
        pass(now, step, owner);
    }
    if (owner.writes) now.store(kept + last * page, row);
    now = Kept<V>();
    if (owner.writes) now.store(back, row);
    sincospi(phase[0] * (REAL)(1 / PI), &y, &x);
    for (long long segment = last; segment >= 0; --segment) {
        long long start = segment * length, stop = start + length < num ? start + length : num;
        now.load(kept + segment * page, row);
        for (long long n = start; n < stop; ++n) {
            if (owner.writes) now.store(work + (n - start) * page, row);
            if (n + 1 == stop) break;
            step.set(flip, TR, TE, n, n == start ? -1 : n - 1, r1, r2, b1);
            if (Frame<V>::own) step.turn(phase[n] - phase[n + 1]);
            pass(now, step, owner);
        }
        now.load(back, row);
        for (long long n = stop - 1; n >= start; --n) {
            Kept<V> state;
            V slope;
            state.load(work + (n - start) * page, row);
            step.set(flip, TR, TE, n, n + 1 == stop ? -1 : n + 1, r1, r2, b1);
            if (Frame<V>::own) {
                step.turn(phase[n] - phase[n + 1 < num ? n + 1 : n]);
                sincospi(phase[n] * (REAL)(1 / PI), &y, &x);
            }
            place(cotangent[atom * num + n], -y, x, &slope);
            V echo = echo_of(step, state.a[0], state.z[0]);
            if (owner.lane == 0) now.b[0] = now.b[0] + conjugate(now.a[0]);
            Moments m = now.fall(step, owner, state, V{}, step.echo * slope, V{});
            first = now.z[0].re;
            REAL before = n ? TR[n - 1] : 0, grown = m.V - first, shown = dot(slope, echo);
            to_T1 += before * grown, to_T2 += before * m.W + TE[n] * shown, to_B1 += flip[n] * m.A;
            if (owner.writes && owner.lane == 0) {
                by_pulse[n * atoms] = B1[atom] * m.A;
                by_pulse[(num + n) * atoms] = after + wedge(slope, echo) - m.Q;
                by_pulse[(2 * num + (n ? n : num) - 1) * atoms] = n ? -m.W * r2 - grown * r1 : 0;
                by_pulse[(3 * num + n) * atoms] = -shown * r2;
            }
            after = m.Q;
        }
        if (owner.writes) now.store(back, row);
    }
    if (!owner.writes || owner.lane > 0) return;
    by_atom[atom] = to_T1 * r1 * r1;
    by_atom[atoms + atom] = to_T2 * r2 * r2;
    by_atom[2 * atoms + atom] = to_B1;
    by_atom[3 * atoms + atom] = first;
}

// cotangent: (atoms, num); work: (length + ceil(num / length) + 1, fours, atoms LANES);
// by_atom: (4, atoms), T1, T2, B1, initial; by_pulse: (4, num, atoms), flip, phase, TR, TE.
extern "C" __global__ void fisp_real(
    const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
    const REAL* T2, const REAL* B1, const REAL* initial, const Pair* cotangent, long long atoms,
    long long num, long long length, Four* work, REAL* by_atom, REAL* by_pulse) {
    fisp<Single>(flip, phase, TR, TE, T1, T2, B1, initial, cotangent, atoms, num, length, work,
                 by_atom, by_pulse);
}

extern "C" __global__ void fisp_complex(
    const REAL* flip, const REAL* phase, const REAL* TR, const REAL* TE, const REAL* T1,
    const REAL* T2, const REAL* B1, const REAL* initial, const Pair* cotangent, long long atoms,
    long long num, long long length, Four* work, REAL* by_atom, REAL* by_pulse) {
    fisp<Pair>(flip, phase, TR, TE, T1, T2, B1, initial, cotangent, atoms, num, length, work,
               by_atom, by_pulse);
}

// One interval of spin echoes forwards: what falls below order 0 passes the echo and comes back.
HERE void forward(Kept<Single>& now, const Interval& step, const Owner& owner) {
    Single lowest = now.rise(step, owner);
    if (owner.lane == 0) now.a[0] = -lowest;
}

// cotangent: (atoms, num), real; by_atom: (4, atoms), spacing, T1, T2, B1; work as above.
extern "C" __global__ void cpmg(
    REAL spacing, const REAL* T1, const REAL* T2, const REAL* B1, const REAL* cotangent,
    long long atoms, long long num, long long length, Four* work, REAL* by_atom) {
    Owner owner(atoms);
    const long long atom = owner.atom, row = atoms * LANES, column = atom * LANES + owner.lane;
    REAL half = (REAL)0.5, r1 = 1 / T1[atom], r2 = 1 / T2[atom], c, s;
    Interval step;
    step.e1 = exp(-spacing * r1), step.x = exp(-spacing * r2), step.echo = exp(-half * spacing * r2);
    step.y = 0;
    sincospi(B1[atom], &step.s, &step.c);
    sincospi(half * B1[atom], &s, &c);
    const long long page = Kept<Single>::fours * row, last = (num - 1) / length;
    Four *kept = work + length * page + column, *back = kept + (last + 1) * page;
    work += column;
    Kept<Single> now;
    if (owner.lane == 0) now.a[0].re = s * step.echo;
    for (long long n = 0; n < last * length; ++n) {
        if (n % length == 0 && owner.writes) now.store(kept + n / length * page, row);
        forward(now, step, owner);
    }
    if (owner.writes) now.store(kept + last * page, row);
    now = Kept<Single>();
    if (owner.writes) now.store(back, row);
    REAL angle = 0, grown = 0, decayed = 0, excited = 0;
    for (long long segment = last; segment >= 0; --segment) {
        long long start = segment * length, stop = start + length < num ? start + length : num;
        now.load(kept + segment * page, row);
        for (long long n = start; n < stop; ++n) {
            if (owner.writes) now.store(work + (n - start) * page, row);
            if (n + 1 < stop) forward(now, step, owner);
        }
        now.load(back, row);
        for (long long n = stop - 1; n >= start; --n) {
            Kept<Single> state;
            state.load(work + (n - start) * page, row);
            REAL a = state.a[0].re, b = state.b[0].re, z = state.z[0].re;
            REAL slope = step.echo * cotangent[atom * num + n];
            REAL mixed = half * step.c * (a + b) + step.s * z - half * (a - b);
            Moments m = now.fall(step, owner, state, {-now.a[0].re}, {}, {-slope});
            angle += m.A, grown += m.V, decayed += (n ? m.W : half * m.W) - half * slope * mixed;
            excited = now.a[0].re;
        }
        if (owner.writes) now.store(back, row);
    }
    if (!owner.writes || owner.lane > 0) return;
    by_atom[atom] = -grown * r1 - decayed * r2;
    by_atom[atoms + atom] = grown * spacing * r1 * r1;
    by_atom[2 * atoms + atom] = decayed * spacing * r2 * r2;
    by_atom[3 * atoms + atom] = (REAL)PI * (angle + half * excited * c * step.echo);
}

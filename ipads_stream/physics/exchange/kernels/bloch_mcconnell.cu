// Bloch-McConnell on the GPU: POOLS x POOLS lanes of a warp own one spectrum at one offset, each the
// 3 x 3 cells of a pair of pools in its registers; what a product needs of the others passes through
// shared memory; from 6 pools on a thread block owns one, and threads to spare repeat the first ones.
// POOLS is a constant of the compilation, at most 11. Always double: the angle of a long pulse,
// 1e4 rad, is not known to 1e-3 in float. The method: see the Numba twin.
#ifndef POOLS
#define POOLS 3
#endif
#define BLOCKS (POOLS * POOLS)
#define WARP 32
#define WARPS 4  // of a thread block at most
#if POOLS > 5
#define GROUP (WARP * WARPS)  // of lanes that wait for one another
#define GROUPS 1  // of a thread block
#define TOGETHER 1
#define SLOTS 1
#define WAIT() __syncthreads()
#else
#define GROUP WARP
#define GROUPS WARPS
#define TOGETHER (WARP / BLOCKS)
#define SLOTS ((WARP + BLOCKS - 1) / BLOCKS)  // one for the lanes that are left over
#define WAIT() __syncwarp()
#endif
#define CELLS (9 * BLOCKS + 3 * POOLS)
#define PI 3.14159265358979323846
#define REACH 0.045
#define ALL 0xFFFFFFFFu
#define HERE __device__ __forceinline__

// Of the polynomial: (2/3)(1 + r)/88, (2/3)(1 + r)/352, (857 - 58 r)/630, 2/3, (29 r - 271)/210,
// 11 (r - 1)/840, 11 (r - 9)/3360, (89 - r)/2240, r = sqrt(177).
#define C0 0.1083646567852278
#define C1 0.02709116419630695
#define C2 0.13549236135285073
#define C3 0.6666666666666666
#define C4 0.546761457970724
#define C5 0.16112557339541758
#define C6 0.014090917158378206
#define C7 0.0337927970108705

// The cells of a lane: of its pair of pools, and the column behind the square at its row's pool.
struct Driven {
    double m[9], v[3];
};
// Without RF: a complex number and a real one, of the transverse and of the longitudinal part.
struct Free {
    double m[3];
};

HERE int most_of(int count) {
#if POOLS <= 5  // Else all lanes have one count.
#pragma unroll
    for (int by = WARP / 2; by > 0; by /= 2) {
        int other = __shfl_xor_sync(ALL, count, by);
        count = other > count ? other : count;
    }
#endif
    return count;
}

template <class T> HERE T combined(double x, const T& p, double y, const T& q) {
    T out = p;
    double* to = reinterpret_cast<double*>(&out);
#pragma unroll
    for (int i = 0; i < (int)(sizeof(T) / sizeof(double)); ++i)
        to[i] = x * to[i] + y * reinterpret_cast<const double*>(&q)[i];
    return out;
}

// The lanes of a pair of spectrum and offset: row and column of pools, and two matrices to share.
struct Place {
    int row, column;
    double *left, *right;

    HERE void show(const Driven& x, double* where) const {
#pragma unroll
        for (int i = 0; i < 9; ++i) where[9 * (row * POOLS + column) + i] = x.m[i];
        if (column == 0)
#pragma unroll
            for (int i = 0; i < 3; ++i) where[9 * BLOCKS + 3 * row + i] = x.v[i];
    }
    HERE void show(const Free& x, double* where) const {
#pragma unroll
        for (int i = 0; i < 3; ++i) where[3 * (row * POOLS + column) + i] = x.m[i];
    }
    // Of the rows of the pair
    HERE double largest(double x) const {
        WAIT();
        if (column == 0) left[row] = x;
        WAIT();
        for (int p = 0; p < POOLS; ++p) x = fmax(x, left[p]);
        return x;
    }
    // What one pool between adds to sums; the column behind the square of a takes no part.
    HERE void add(Driven& sums, const double* a, const double* b, int k) const {
        a += 9 * (row * POOLS + k);
        const double* v = b + 9 * BLOCKS + 3 * k;
        b += 9 * (k * POOLS + column);
#pragma unroll
        for (int i = 0; i < 3; ++i)
#pragma unroll
            for (int l = 0; l < 3; ++l) {
                double x = a[3 * i + l];
#pragma unroll
                for (int j = 0; j < 3; ++j) sums.m[3 * i + j] += x * b[3 * l + j];
                sums.v[i] += x * v[l];
            }
    }
    HERE void add(Free& sums, const double* a, const double* b, int k) const {
        a += 3 * (row * POOLS + k), b += 3 * (k * POOLS + column);
        sums.m[0] += a[0] * b[0], sums.m[1] += a[0] * b[1];
        sums.m[0] -= a[1] * b[1], sums.m[1] += a[1] * b[0];
        sums.m[2] += a[2] * b[2];
    }
    // a b + factor a + share added
    template <class T> HERE T product(const T& a, const T& b, double factor, const T& added,
                                      double share) const {
        bool square = &a == &b;
        WAIT();
        show(a, left);
        if (!square) show(b, right);
        WAIT();
        T sums = combined(factor, a, share, added);
#pragma unroll 1
        for (int k = 0; k < POOLS; ++k) add(sums, left, square ? left : right, k);
        return sums;
    }
    // exp of the generator a times 2^count, minus 1; most: the largest count of the warp, whose
    // lanes stay together.
    template <class T> HERE T exponential(T a, int count, int most) const {
        T b = product(a, a, 0, a, 0);
        T d = product(b, combined(C0, a, C1, b), 0, a, 0);
        T c = combined(1, combined(C5, a, C6, b), C7, d);
        b = product(combined(1, d, C3, b), c, C4, combined(1, a, C2, b), 1);
#pragma unroll 1
        for (int n = 0; n < most; ++n) {
            T squared = product(b, b, 1, b, 1);
            if (n < count) b = squared;
        }
        return b;
    }
};

// What a lane knows of the pools of its row and its column.
struct Rates {
    double r1, r2, fraction, leaving, shift, water_shift, arriving, returning, b1, absorption;
    bool solid, water, diagonal, exchanging;  // arriving at the water, or returning from it
    int first;  // axis from which the two pools exchange

    // By a bound of the sums of a column of the generator; frame: the shift from which others count.
    HERE int halvings(const Place& at, double field, double frame, double time) const {
        double sum = fabs(shift - frame) + field + fmax(r1, r2) + 2 * leaving;
        if (solid) sum += absorption * field * field;
        sum = at.largest(sum) * time;
        int count = 0;
        for (; sum > REACH; sum *= 0.5) ++count;
        return count;
    }
    HERE Driven driven(double x, double y, double time) const {
        Driven out = {};
        double away = time * leaving, transverse = -time * r2 - away, longitudinal = -time * r1 - away;
        double field = time * b1, turn = time * shift;
        if (diagonal && !solid) {
            out.m[0] = out.m[4] = transverse, out.m[1] = turn, out.m[3] = -turn;
            out.m[2] = -field * y, out.m[5] = field * x, out.m[6] = field * y, out.m[7] = -field * x;
        }
        if (solid) longitudinal -= absorption * (x * x + y * y) * b1 * field;
        if (diagonal) out.m[8] = longitudinal;
        out.v[2] = time * r1 * fraction;
#pragma unroll
        for (int axis = 0; axis < 3; ++axis)
            if (exchanging && axis >= first) out.m[4 * axis] = time * arriving;
        return out;
    }
    HERE Free undriven(double time) const {
        Free out = {};
        double away = time * leaving;
        if (diagonal && !solid) out.m[0] = -time * r2 - away, out.m[1] = time * (water_shift - shift);
        if (diagonal) out.m[2] = -time * r1 - away;
        if (exchanging && first == 0) out.m[0] = time * arriving;
        if (exchanging) out.m[2] = time * arriving;
        return out;
    }
};

HERE Rates rates_of(const double* tissue, long long spectra, long long spectrum, int row, int column,
                    int solid, double offset, double absorption) {
    const double* own = tissue + 5 * row * spectra + spectrum;
    double water = tissue[2 * spectra + spectrum];
    Rates now = {};
    now.r1 = own[0], now.r2 = own[spectra], now.fraction = own[2 * spectra];
    now.shift = own[4 * spectra] - offset, now.water_shift = tissue[4 * spectra + spectrum] - offset;
    now.b1 = tissue[5 * POOLS * spectra + spectrum];
    now.solid = row == solid, now.diagonal = row == column, now.absorption = absorption;
    now.exchanging = !now.diagonal && (row == 0 || column == 0);
    int other = row + column;  // of the two that exchange, the one that is not water
    now.first = other == solid ? 2 : 0;
#pragma unroll 1
    for (int p = 1; p < POOLS; ++p) {
        const double* at = tissue + 5 * p * spectra + spectrum;
        double leaving = at[3 * spectra], taken = leaving * at[2 * spectra] / water;
        if (p == row) now.leaving = leaving;
        if (row == 0) now.leaving += taken;
        if (row == 0 && p == solid) now.r2 -= taken;  // a solid takes Mz only
        if (p == other) now.arriving = row == 0 ? leaving : taken;
    }
    return now;
}

// Tables as those of the Numba twin; absorption is read where a pool is solid.
extern "C" __global__ void z_spectra(const double* tissue, long long spectra, int solid,
                                     const double* absorption, const double* offsets, long long num,
                                     const double* samples, const double* trains, int num_trains,
                                     double* out) {
    __shared__ double shared[GROUPS * SLOTS * 2 * CELLS];
    long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    int lane = item % GROUP, slot = lane / BLOCKS % SLOTS, cell = lane % BLOCKS;
    long long pair = item / GROUP * TOGETHER + slot;
    bool writes = lane < TOGETHER * BLOCKS && pair < spectra * num && cell == 0;
    // Lanes of a warp stay together: those left over do what others do, elsewhere in memory.
    if (slot == TOGETHER) pair -= 1;
    if (pair >= spectra * num) pair = spectra * num - 1;
    double* mine = shared + (threadIdx.x / GROUP * SLOTS + slot) * 2 * CELLS;
    Place at = {cell / POOLS, cell % POOLS, mine, mine + CELLS};
    long long spectrum = pair / num;
    double offset = offsets[pair % num], fraction = tissue[(5 * at.column + 2) * spectra + spectrum];
    Rates now = rates_of(tissue, spectra, spectrum, at.row, at.column, solid, offset,
                         solid < 0 ? 0 : absorption[pair]);
    double M[3] = {0, 0, tissue[(5 * POOLS + 1) * spectra + spectrum] * fraction};  // of the column
    double* page = at.left;
#pragma unroll 1
    for (int n = 0; n < num_trains; ++n) {
        const double* train = trains + 7 * n;
        long long begin = train[0], stop = train[1], number = train[3];
        double time = train[2];
        Driven pulse;
#pragma unroll 1
        for (long long i = begin; i < stop; ++i) {
            double x = samples[3 * i], y = samples[3 * i + 1], length = samples[3 * i + 2];
            int count = now.halvings(at, (fabs(x) + fabs(y)) * now.b1, 0, length);
            Driven sample =
                at.exponential(now.driven(x, y, ldexp(length, -count)), count, most_of(count));
            if (i > begin) {
                Driven whole = at.product(sample, pulse, 1, pulse, 1);
                pulse = train[6] ? at.product(whole, sample, 1, sample, 1) : whole;
            } else {
                pulse = sample;
            }
        }
        if (time > 0 || train[5] > 0) {
            int count = now.halvings(at, 0, now.water_shift, time);
            Free F = at.exponential(now.undriven(ldexp(time, -count)), count, most_of(count));
            double u, v, kept = 1 - train[5], unit = now.diagonal;
            double turns = (now.water_shift + train[4] * offset) * time / PI;
            sincospi(turns - 2 * rint(0.5 * turns), &v, &u);
            double re = unit + F.m[0], im = F.m[1];
            double along = kept * (u * re + v * im) - unit, turned = kept * (u * im - v * re);
            Driven gap = {{along, -turned, 0, turned, along, 0, 0, 0, F.m[2]}, {0, 0, 0}};
            // What recovers is what the longitudinal part loses of the equilibrium.
            WAIT();
            page[cell] = F.m[2] * fraction;
            WAIT();
#pragma unroll 1
            for (int k = 0; k < POOLS; ++k) gap.v[2] -= page[at.row * POOLS + k];
            pulse = at.product(gap, pulse, 1, pulse, 1);
        }
        // M of the column's pool is one sum over the pools of its row.
        WAIT();
        if (at.column == 0)
#pragma unroll
            for (int i = 0; i < 3; ++i) at.left[3 * BLOCKS + 3 * at.row + i] = pulse.v[i];
        WAIT();
        double behind[3];
#pragma unroll
        for (int i = 0; i < 3; ++i) behind[i] = at.left[3 * BLOCKS + 3 * at.column + i];
#pragma unroll 1
        for (long long repeat = 0; repeat < number; ++repeat) {
            double* now_page = repeat & 1 ? at.right : at.left;
#pragma unroll
            for (int i = 0; i < 3; ++i)
                now_page[3 * cell + i] =
                    pulse.m[3 * i] * M[0] + pulse.m[3 * i + 1] * M[1] + pulse.m[3 * i + 2] * M[2];
            WAIT();
#pragma unroll
            for (int i = 0; i < 3; ++i) {
                double sum = M[i] + behind[i];
#pragma unroll 1
                for (int k = 0; k < POOLS; ++k) sum += now_page[3 * (at.column * POOLS + k) + i];
                M[i] = sum;
            }
        }
    }
    if (writes) out[pair] = M[2] / fraction;
}

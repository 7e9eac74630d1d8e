// Bloch-McConnell on the GPU: a thread owns one spectrum at one offset; POOLS is a constant of the
// compilation. The matrices lie in local memory, by design: 5 of (3 POOLS)(3 POOLS + 1) numbers are
// more than a thread has registers for; sums of 3 x 3 cells stay in registers. Always double: the
// angle of a long pulse, 1e4 rad, is not known to 1e-3 in float. The method: see the Numba twin.
#ifndef POOLS
#define POOLS 3
#endif
#define ROWS (3 * POOLS)
#define WIDTH (ROWS + 1)
#define CELLS (ROWS * WIDTH)
#define FREE (3 * POOLS * POOLS)
#define PI 3.14159265358979323846
#define REACH 0.045

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

struct Pair {
    double r1[POOLS], r2[POOLS], fraction[POOLS], leaving[POOLS], shift[POOLS], b1, absorption;
    int solid;

    // A bound of the sums of a column of the generator; frame: the shift from which others count.
    __device__ __forceinline__ double norm(double field, double frame) const {
        double largest = 0;
#pragma unroll 1
        for (int p = 0; p < POOLS; ++p) {
            double sum = fabs(shift[p] - frame) + field + fmax(r1[p], r2[p]) + 2 * leaving[p];
            if (p == solid) sum += absorption * field * field;
            largest = fmax(largest, sum);
        }
        return largest;
    }
};

__device__ __forceinline__ int halvings(double norm) {
    int count = 0;
    for (; norm > REACH; norm *= 0.5) ++count;
    return count;
}

// out = left right + factor left + share added; the column behind the square takes no part.
template <int COLUMNS>
__device__ __forceinline__ void block(const double* left, const double* right, double factor,
                                      const double* added, double share, double* out, int top,
                                      int first) {
    double sums[3][COLUMNS];
#pragma unroll
    for (int i = 0; i < 3; ++i)
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            int cell = (top + i) * WIDTH + first + j;
            sums[i][j] = factor * left[cell] + share * added[cell];
        }
#pragma unroll 1
    for (int k = 0; k < ROWS; ++k)
#pragma unroll
        for (int i = 0; i < 3; ++i)
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j)
                sums[i][j] += left[(top + i) * WIDTH + k] * right[k * WIDTH + first + j];
#pragma unroll
    for (int i = 0; i < 3; ++i)
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) out[(top + i) * WIDTH + first + j] = sums[i][j];
}

struct Driven {
    static constexpr int cells = CELLS;
    __device__ __forceinline__ static void product(const double* left, const double* right,
                                                   double factor, const double* added, double share,
                                                   double* out) {
#pragma unroll 1
        for (int top = 0; top < ROWS; top += 3) {
#pragma unroll 1
            for (int first = 0; first < ROWS; first += 3)
                block<3>(left, right, factor, added, share, out, top, first);
            block<1>(left, right, factor, added, share, out, top, ROWS);
        }
    }
};

struct Free {
    static constexpr int cells = FREE;
    __device__ __forceinline__ static void product(const double* left, const double* right,
                                                   double factor, const double* added, double share,
                                                   double* out) {
#pragma unroll 1
        for (int row = 0; row < POOLS; ++row)
#pragma unroll 1
            for (int column = 0; column < POOLS; ++column) {
                int cell = 3 * (row * POOLS + column);
                double re = factor * left[cell] + share * added[cell];
                double im = factor * left[cell + 1] + share * added[cell + 1];
                double z = factor * left[cell + 2] + share * added[cell + 2];
#pragma unroll 1
                for (int k = 0; k < POOLS; ++k) {
                    const double* a = left + 3 * (row * POOLS + k);
                    const double* b = right + 3 * (k * POOLS + column);
                    re += a[0] * b[0] - a[1] * b[1], im += a[0] * b[1] + a[1] * b[0];
                    z += a[2] * b[2];
                }
                out[cell] = re, out[cell + 1] = im, out[cell + 2] = z;
            }
    }
};

// exp of the generator in a times 2^count, minus 1; the result lies in a or b and is returned.
template <class Form>
__device__ __forceinline__ double* exponential(double* a, double* b, double* c, double* d,
                                               int count) {
    Form::product(a, a, 0, a, 0, b);
#pragma unroll 1
    for (int i = 0; i < Form::cells; ++i) c[i] = C0 * a[i] + C1 * b[i];
    Form::product(b, c, 0, a, 0, d);
#pragma unroll 1
    for (int i = 0; i < Form::cells; ++i) {
        c[i] = C5 * a[i] + C6 * b[i] + C7 * d[i];
        d[i] += C3 * b[i];
        a[i] += C2 * b[i];
    }
    Form::product(d, c, C4, a, 1, b);
#pragma unroll 1
    for (; count > 0; --count) {
        Form::product(b, b, 1, b, 1, a);
        double* other = a;
        a = b, b = other;
    }
    return b;
}

__device__ __forceinline__ void driven(const Pair& now, double x, double y, double time,
                                       double* out) {
#pragma unroll 1
    for (int i = 0; i < CELLS; ++i) out[i] = 0;
#pragma unroll 1
    for (int p = 0; p < POOLS; ++p) {
        double* at = out + 3 * p * (WIDTH + 1);
        double leaving = time * now.leaving[p], transverse = -time * now.r2[p] - leaving;
        double b1 = time * now.b1, turn = time * now.shift[p];
        double longitudinal = -time * now.r1[p] - leaving;
        if (p == now.solid) {
            longitudinal -= now.absorption * (x * x + y * y) * now.b1 * b1;
        } else {
            at[0] = transverse, at[1] = turn, at[2] = -b1 * y;
            at[WIDTH] = -turn, at[WIDTH + 1] = transverse, at[WIDTH + 2] = b1 * x;
            at[2 * WIDTH] = b1 * y, at[2 * WIDTH + 1] = -b1 * x;
        }
        at[2 * WIDTH + 2] = longitudinal;
        out[(3 * p + 2) * WIDTH + ROWS] = time * now.r1[p] * now.fraction[p];
        if (p > 0) {
#pragma unroll 1
            for (int axis = p == now.solid ? 2 : 0; axis < 3; ++axis) {
                out[axis * WIDTH + 3 * p + axis] = leaving;
                out[(3 * p + axis) * WIDTH + axis] = leaving * now.fraction[p] / now.fraction[0];
            }
        }
    }
}

__device__ __forceinline__ void undriven(const Pair& now, double time, double* out) {
#pragma unroll 1
    for (int i = 0; i < FREE; ++i) out[i] = 0;
#pragma unroll 1
    for (int p = 0; p < POOLS; ++p) {
        double *at = out + 3 * p * (POOLS + 1), leaving = time * now.leaving[p];
        if (p != now.solid) {
            at[0] = -time * now.r2[p] - leaving;
            at[1] = -time * (now.shift[p] - now.shift[0]);
        }
        at[2] = -time * now.r1[p] - leaving;
        if (p > 0) {
#pragma unroll 1
            for (int axis = p == now.solid ? 2 : 0; axis < 3; axis += 2) {
                out[3 * p + axis] = leaving;
                out[3 * p * POOLS + axis] = leaving * now.fraction[p] / now.fraction[0];
            }
        }
    }
}

// Tables as those of the Numba twin; absorption is read where a pool is solid.
extern "C" __global__ void z_spectra(const double* tissue, long long spectra, int solid,
                                     const double* absorption, const double* offsets, long long num,
                                     const double* samples, const double* trains, int num_trains,
                                     double* out) {
    long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= spectra * num) return;
    long long spectrum = item / num;
    double offset = offsets[item % num];
    double a[CELLS], b[CELLS], c[CELLS], d[CELLS], pulse[CELLS], M[ROWS], old[ROWS];
    Pair now;
    now.solid = solid;
    now.b1 = tissue[5 * POOLS * spectra + spectrum];
    now.absorption = solid < 0 ? 0 : absorption[item];
    now.leaving[0] = 0;
#pragma unroll 1
    for (int p = 0; p < POOLS; ++p) {
        const double* row = tissue + 5 * p * spectra + spectrum;
        now.r1[p] = row[0], now.r2[p] = row[spectra], now.fraction[p] = row[2 * spectra];
        now.shift[p] = row[4 * spectra] - offset;
        if (p > 0) {
            now.leaving[p] = row[3 * spectra];
            double taken = now.leaving[p] * now.fraction[p] / now.fraction[0];
            now.leaving[0] += taken;
            if (p == solid) now.r2[0] -= taken;  // a solid takes Mz only
        }
        M[3 * p] = M[3 * p + 1] = 0;
        M[3 * p + 2] = tissue[(5 * POOLS + 1) * spectra + spectrum] * now.fraction[p];
    }
#pragma unroll 1
    for (int n = 0; n < num_trains; ++n) {
        const double* train = trains + 7 * n;
        long long begin = train[0], stop = train[1], number = train[3];
        double time = train[2];
#pragma unroll 1
        for (long long i = begin; i < stop; ++i) {
            double x = samples[3 * i], y = samples[3 * i + 1], length = samples[3 * i + 2];
            int count = halvings(now.norm((fabs(x) + fabs(y)) * now.b1, 0) * length);
            driven(now, x, y, ldexp(length, -count), a);
            double* sample = exponential<Driven>(a, b, c, d, count);
            if (i > begin) {
                Driven::product(sample, pulse, 1, pulse, 1, d);
                if (train[6]) Driven::product(d, sample, 1, sample, 1, pulse);
            }
            if (i > begin && train[6]) continue;
            const double* whole = i > begin ? d : sample;
#pragma unroll 1
            for (int j = 0; j < CELLS; ++j) pulse[j] = whole[j];
        }
        if (time > 0 || train[5] > 0) {
            int count = halvings(now.norm(0, now.shift[0]) * time);
            undriven(now, ldexp(time, -count), a);
            const double* F = exponential<Free>(a, b, c, d, count);
            double u, v, kept = 1 - train[5];
            double turns = (now.shift[0] + train[4] * offset) * time / PI;
            sincospi(turns - 2 * rint(0.5 * turns), &v, &u);
#pragma unroll 1
            for (int i = 0; i < CELLS; ++i) c[i] = 0;
#pragma unroll 1
            for (int i = 0; i < POOLS * POOLS; ++i) {
                int row = i / POOLS, column = i % POOLS;
                double unit = row == column, re = unit + F[3 * i], im = F[3 * i + 1];
                double along = kept * (u * re + v * im) - unit, turned = kept * (u * im - v * re);
                double* at = c + 3 * (row * WIDTH + column);
                at[0] = along, at[1] = -turned, at[WIDTH] = turned, at[WIDTH + 1] = along;
                at[2 * WIDTH + 2] = F[3 * i + 2];
                c[(3 * row + 2) * WIDTH + ROWS] -= F[3 * i + 2] * now.fraction[column];
            }
            Driven::product(c, pulse, 1, pulse, 1, d);
#pragma unroll 1
            for (int j = 0; j < CELLS; ++j) pulse[j] = d[j];
        }
#pragma unroll 1
        for (long long repeat = 0; repeat < number; ++repeat) {
#pragma unroll 1
            for (int i = 0; i < ROWS; ++i) old[i] = M[i];
#pragma unroll 1
            for (int i = 0; i < ROWS; ++i) {
                double sum = old[i] + pulse[i * WIDTH + ROWS];
#pragma unroll 1
                for (int k = 0; k < ROWS; ++k) sum += pulse[i * WIDTH + k] * old[k];
                M[i] = sum;
            }
        }
    }
    out[item] = M[2] / now.fraction[0];
}

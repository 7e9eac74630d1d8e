// Images of slices that an inhomogeneous field bends, on the GPU: one thread per voxel of an image,
// which sums over the voxels along Z whose spins its pulse may turn. Its formula in arrays is
// slice_modulation.py.

struct Pair { REAL re, im; };

// sin(pi x) / (pi x)
__device__ __forceinline__ REAL sinc(REAL x) {
    REAL angle = (REAL)3.14159265358979323846 * x, square = angle * angle, s, c;
    if (square < (REAL)1e-4)
        return 1 - square / 6 * (1 - square / 20 * (1 - square / 42));
    sincospi(x, &s, &c);
    return s / angle;
}

// Half the difference of both neighbours along an axis, one-sided at the edges.
__device__ __forceinline__ REAL slope(const REAL* df, long long i, long long length, long long step) {
    long long ahead = i + 1 < length ? step : 0, behind = i > 0 ? step : 0;
    if (ahead + behind == 0) return 0;
    return (df[ahead] - df[-behind]) / (REAL)((ahead + behind) / step);
}

// df, M0, out: (volumes, X, Y, Z); table: the profile between a zero and two, (intervals + 4,).
extern "C" __global__ void slice_images(
    const REAL* df, const REAL* M0, const Pair* table, long long intervals, long long volumes,
    long long X, long long Y, long long Z, long long parts, double edge, double bandwidth, double TE,
    Pair* out) {
    long long voxel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (voxel >= volumes * X * Y * Z) return;
    long long slice = voxel % Z, y = voxel / Z % Y, x = voxel / (Z * Y) % X;
    const REAL *field = df + (voxel - slice), *amount = M0 + (voxel - slice);
    REAL share = 1 / (REAL)parts, width = (REAL)bandwidth, late = (REAL)TE, last = (REAL)edge;
    REAL scale = (REAL)(intervals / (2 * edge)), end = (REAL)(intervals + 2);
    Pair sum = {0, 0};
    for (long long z = 0; z < Z; ++z) {
        REAL offset = (REAL)(z - slice), in_plane = 0;
        bool is_known = false;  // in_plane is of few voxels: most lie beyond the edges
        for (int side = -1; side <= 1; side += 2) {
            long long a = side < 0 ? (z > 0 ? z - 1 : 0) : (z + 1 < Z ? z : Z - 2);
            REAL across = Z > 1 ? field[a + 1] - field[a] : 0, along = 0;
            bool is_box = false;
            for (long long part = 0; part < parts / 2; ++part) {
                REAL place = side * ((REAL)part + (REAL)0.5) * share;
                REAL here = field[z] + place * across, f = here + width * (place + offset);
                REAL at = (f + last) * scale + 1;
                if (!(at > 0 && at < end)) continue;
                if (!is_known) {
                    in_plane = sinc(late * slope(field + z, x, X, Y * Z));
                    in_plane *= sinc(late * slope(field + z, y, Y, Z)) * amount[z] * share;
                    is_known = true;
                }
                if (!is_box) along = sinc(late * across * share), is_box = true;
                long long low = (long long)at;
                REAL r = at - (REAL)low, size = in_plane * along, s, c;
                Pair m = table[low], next = table[low + 1];
                m.re += r * (next.re - m.re), m.im += r * (next.im - m.im);
                sincospi(-2 * late * here, &s, &c);
                sum.re += size * (m.re * c - m.im * s), sum.im += size * (m.re * s + m.im * c);
            }
        }
    }
    out[voxel] = sum;
}

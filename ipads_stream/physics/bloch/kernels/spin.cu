// What the kernels of isochromats do to a spin, forward and backward: see parts.py.
#define FREE -2
#define EXACT -1

struct Vector {
    REAL x, y, z;
};

// Half angles by RF about x and y, and by gradients per metre, of one step.
struct alignas(4 * sizeof(REAL)) Waveform {
    REAL hx, hy, gx, gy, gz, unused[3];
};

// 1 + q even, 1 + q odd on [0, 1]: cos(sqrt q) and sin(sqrt q)/sqrt q, as in parts.py
__device__ __forceinline__ void rotor(float q, float* even, float* odd) {
    *even = -0.49999999787945926f + q * (4.166659879322851e-2f + q * (-1.3885490860485739e-3f
        + q * 2.4256144916634526e-5f));
    *odd = -0.16666666647343992f + q * (8.333327148835348e-3f
        + q * (-1.9838174236308515e-4f + q * 2.70606685415231e-6f));
}

__device__ __forceinline__ void rotor(double q, double* even, double* odd) {
    double e = 1.0, o = 1.0;
#pragma unroll
    for (int n = 8; n > 1; --n) {
        e = 1.0 - q * (e * (1.0 / (2 * n * (2 * n - 1))));
        o = 1.0 - q * (o * (1.0 / (2 * n * (2 * n + 1))));
    }
    *even = -e / 2, *odd = o * (-1.0 / 6);
}

__device__ __forceinline__ Vector cross(Vector a, Vector b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

__device__ __forceinline__ REAL dot(Vector a, Vector b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

__device__ __forceinline__ void relax(Vector& m, REAL d1, REAL d2, REAL m0) {
    m.x -= d2 * m.x, m.y -= d2 * m.y, m.z += d1 * (m0 - m.z);
}

// A turn about z, by exp(2 pi i turns)
__device__ __forceinline__ void precess(Vector& m, double turns) {
    REAL s, c, x = m.x, y = m.y;
    sincospi((REAL)(2.0 * (turns - rint(turns))), &s, &c);
    m.x = c * x - s * y, m.y = s * x + c * y;
}

// 1 - exp(-x)
__device__ __forceinline__ REAL lost(REAL x) { return -expm1(-x); }

// Turns of a spin in a step without RF; exact: the step in double.
__device__ __forceinline__ double turns_of(
    const double* exact, const double* spins, long long num_spins, long long spin) {
    double half = exact[5] * spins[3 * num_spins + spin];
#pragma unroll
    for (int i = 0; i < 3; ++i) half += exact[2 + i] * spins[i * num_spins + spin];
    return half * 0.3183098861837907;
}

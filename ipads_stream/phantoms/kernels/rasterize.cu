// Shapes laid on maps on the GPU: one thread per sample, group of quantities and voxel, which goes
// through the shapes in their order. Numbers of a shape and formulas: see rasterize.py.
#define QUANTITIES 4
enum { ELLIPSE, BOX, CYLINDER, POLYGON, POLYTOPE, TUBE, GAUSSIAN, BLOB };

__device__ __forceinline__ float ramp(float t) { return fminf(1.f, fmaxf(0.f, 0.5f - t)); }

// Share of the voxel at x that lies within [-half, half].
__device__ __forceinline__ float share(float x, float half) {
    return fmaxf(0.f, fminf(x + 0.5f, half) - fmaxf(x - 0.5f, -half));
}

// (|u| - 1) |u| / |A^T u|, of the first rows of A.
__device__ __forceinline__ float ellipse(const float* A, const float* u, int rows) {
    float square = 1e-12f, steep = 1e-30f;
    for (int k = 0; k < rows; ++k) square += u[k] * u[k];
    for (int j = 0; j < 3; ++j) {
        float g = 0.f;
        for (int k = 0; k < rows; ++k) g += A[3 * k + j] * u[k];
        steep += g * g;
    }
    return (square - sqrtf(square)) / sqrtf(steep);
}

__device__ __forceinline__ float gaussian(const float* u) {
    float q = u[0] * u[0] + u[1] * u[1] + u[2] * u[2];
    if (q >= 16.f) return 0.f;
    const float cut = 3.3546263e-4f;  // exp(-8)
    return fmaxf(0.f, (expf(-0.5f * q) - cut) / (1.f - cut));
}

__device__ __forceinline__ float blob(const float* n, const float* u) {
    float square = u[0] * u[0] + u[1] * u[1] + u[2] * u[2] + 1e-12f, fourth = 0.f, steep = 1e-30f;
    for (int k = 0; k < 3; ++k) fourth += u[k] * u[k] * u[k] * u[k];
    for (int j = 0; j < 3; ++j) {
        float g = n[5 + j] * u[0] + n[8 + j] * u[1] + n[11 + j] * u[2];
        steep += g * g;
    }
    float length = sqrtf(square), norm = (1.f - n[14]) * length + n[14] * sqrtf(sqrtf(fourth));
    float c[4], surface = 1.f;
    for (int m = 0; m < 4; ++m) {
        const float* wave = n + 15 + 4 * m;
        c[m] = (wave[1] * u[0] + wave[2] * u[1] + wave[3] * u[2]) / length;
    }
    surface += n[15] * (2.f * c[0] * c[0] - 1.f);
    surface += n[19] * (4.f * c[1] * c[1] - 3.f) * c[1];
    surface += n[23] * (8.f * (c[2] * c[2] - 1.f) * c[2] * c[2] + 1.f);
    surface += n[27] * ((16.f * c[3] * c[3] - 20.f) * c[3] * c[3] + 5.f) * c[3];
    return (norm - surface) * length / sqrtf(steep);
}

__device__ __forceinline__ float polygon(const float* n, float y, float z) {
    int num = (int)n[2];
    float nearest = 1e30f, side = 1.f;
    for (int i = 0; i < num; ++i) {
        const float *p = n + 3 + 2 * i, *q = n + 3 + 2 * ((i + 1) % num);
        float ey = q[0] - p[0], ez = q[1] - p[1], wy = y - p[0], wz = z - p[1];
        if ((y >= p[0]) != (y >= q[0]) && z < p[1] + wy * ez / ey) side = -side;
        float h = (wy * ey + wz * ez) / (ey * ey + ez * ez + 1e-30f);
        h = fminf(1.f, fmaxf(0.f, h));
        float dy = wy - h * ey, dz = wz - h * ez;
        nearest = fminf(nearest, dy * dy + dz * dz);
    }
    return side * sqrtf(nearest);
}

__device__ __forceinline__ float polytope(const float* n, float x, float y, float z) {
    float most = -1e30f;
    for (int i = 0; i < (int)n[2]; ++i) {
        const float* p = n + 3 + 4 * i;
        most = fmaxf(most, p[0] * x + p[1] * y + p[2] * z - p[3]);
    }
    return most;
}

__device__ __forceinline__ float tube(const float* n, float x, float y, float z) {
    float nearest = 1e30f;
    x *= n[3], y *= n[4], z *= n[5];
    for (int i = 0; i + 1 < (int)n[2]; ++i) {
        const float *p = n + 6 + 4 * i, *q = p + 4;
        float ex = q[0] - p[0], ey = q[1] - p[1], ez = q[2] - p[2];
        float wx = x - p[0], wy = y - p[1], wz = z - p[2];
        float h = (wx * ex + wy * ey + wz * ez) / (ex * ex + ey * ey + ez * ez + 1e-30f);
        h = fminf(1.f, fmaxf(0.f, h));
        float dx = wx - h * ex, dy = wy - h * ey, dz = wz - h * ez;
        float square = dx * dx + dy * dy + dz * dz + 1e-12f;
        dx *= n[3], dy *= n[4], dz *= n[5];
        float radius = (p[3] + h * (q[3] - p[3])) * sqrtf(square);
        nearest = fminf(nearest, (square - radius) / sqrtf(dx * dx + dy * dy + dz * dz + 1e-30f));
    }
    return nearest;
}

__device__ __forceinline__ float coverage(int kind, const float* n, float x, float y, float z) {
    if (kind == POLYGON) return n[0] * ramp(polygon(n, y, z) + n[1]);
    if (kind == POLYTOPE) return n[0] * ramp(polytope(n, x, y, z) + n[1]);
    if (kind == TUBE) return n[0] * ramp(tube(n, x, y, z) + n[1]);
    float u[3];
    for (int k = 0; k < 3; ++k) {
        const float* A = n + 5 + 3 * k;
        u[k] = A[0] * (x - n[2]) + A[1] * (y - n[3]) + A[2] * (z - n[4]);
    }
    if (kind == ELLIPSE) return n[0] * ramp(ellipse(n + 5, u, 3) + n[1]);
    if (kind == BOX) return n[0] * share(u[0], n[14]) * share(u[1], n[15]) * share(u[2], n[16]);
    if (kind == CYLINDER) return n[0] * ramp(ellipse(n + 5, u, 2) + n[1]) * share(u[2], n[16]);
    if (kind == GAUSSIAN) return n[0] * gaussian(u);
    return n[0] * ramp(blob(n, u) + n[1]);
}

// kind: (B, S); box: (B, S, 6); numbers: (B, S, W); values: (B, S, Q); out: (B, Q, X, Y, Z).
extern "C" __global__ void rasterize(
    const int* kind, const int* box, const float* numbers, const float* values, long long samples,
    long long shapes, long long width, long long quantities, long long X, long long Y, long long Z,
    long long is_sum, float* out) {
    long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x, voxels = X * Y * Z;
    long long voxel = thread % voxels, rest = thread / voxels;
    long long groups = (quantities + QUANTITIES - 1) / QUANTITIES;
    long long b = rest / groups, first = rest % groups * QUANTITIES;
    if (b >= samples) return;
    int i = (int)(voxel / (Y * Z)), j = (int)(voxel / Z % Y), k = (int)(voxel % Z);
    float* at = out + (b * quantities + first) * voxels + voxel;
    float held[QUANTITIES];
#pragma unroll
    for (int q = 0; q < QUANTITIES; ++q)
        held[q] = first + q < quantities ? at[q * voxels] : 0.f;
    for (long long s = b * shapes; s < (b + 1) * shapes; ++s) {
        const int* of = box + 6 * s;
        if (kind[s] < 0 || i < of[0] || i >= of[1] || j < of[2] || j >= of[3] || k < of[4]
            || k >= of[5])
            continue;
        float c = coverage(kind[s], numbers + s * width, (float)i, (float)j, (float)k);
#pragma unroll
        for (int q = 0; q < QUANTITIES; ++q) {
            if (first + q >= quantities) break;
            float value = values[s * quantities + first + q];
            held[q] += c * (is_sum ? value : value - held[q]);
        }
    }
#pragma unroll
    for (int q = 0; q < QUANTITIES; ++q)
        if (first + q < quantities) at[q * voxels] = held[q];
}

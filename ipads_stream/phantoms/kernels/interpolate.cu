// Linear interpolation in volumes of 8 bits on the GPU: one thread per item and place.

// Coordinate in a reduction, whose voxel j is centred at (j + 1/2) / scale - 1/2.
__device__ __forceinline__ float place(float x, float scale, long long length, long long mirrored) {
    x = (x + 0.5f) * scale - 0.5f;
    if (mirrored) {
        float period = (float)(2 * length);
        x = (x + 0.5f) - period * floorf((x + 0.5f) / period);
        x = fminf(x, period - x) - 0.5f;
        x = fminf((float)(length - 1), fmaxf(0.f, x));
    }
    return fminf((float)(length + 1), fmaxf(-2.f, x));  // beyond it all is 0
}

// voxels: flat; of each item offset, size (n, 3), scale; places: (n, 3, V); out: (n, C, V).
extern "C" __global__ void interpolate(
    const unsigned char* voxels, const long long* offset, const long long* size, const float* scale,
    const float* places, long long mirrored, long long items, long long channels, long long number,
    float* out) {
    long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long n = thread / number, v = thread % number;
    if (n >= items) return;
    long long X = size[3 * n], Y = size[3 * n + 1], Z = size[3 * n + 2];
    const float* at = places + 3 * n * number + v;
    float x = X > 1 ? place(at[0], scale[n], X, mirrored) : 0.f;
    float y = place(at[number], scale[n], Y, mirrored);
    float z = place(at[2 * number], scale[n], Z, mirrored);
    float fx = floorf(x), fy = floorf(y), fz = floorf(z);
    long long i = (long long)fx, j = (long long)fy, k = (long long)fz;
    x -= fx, y -= fy, z -= fz;
    for (long long c = 0; c < channels; ++c) {
        const unsigned char* first = voxels + offset[n] + c * X * Y * Z;
        float total = 0.f;
        for (int corner = 0; corner < 8; ++corner) {
            int di = corner >> 2, dj = corner >> 1 & 1, dk = corner & 1;
            long long a = i + di, b = j + dj, d = k + dk;
            if (a < 0 || a >= X || b < 0 || b >= Y || d < 0 || d >= Z) continue;
            float w = (di ? x : 1.f - x) * (dj ? y : 1.f - y) * (dk ? z : 1.f - z);
            total += w * (float)first[(a * Y + b) * Z + d];
        }
        out[(n * channels + c) * number + v] = total * (1.f / 255.f);
    }
}

// Philox4x32-10 on the GPU: one thread per (sample, block of four words); see random.py.
typedef unsigned int word;
typedef unsigned long long wide;

__device__ __forceinline__ void philox(wide index, word block, word k, word m, word* w) {
    word a = (word)index, b = (word)(index >> 32), c = block, d = 0;
    for (int round = 0; round < 10; ++round) {
        word high_a = __umulhi(a, 0xD2511F53u), low_a = a * 0xD2511F53u;
        word high_c = __umulhi(c, 0xCD9E8D57u), low_c = c * 0xCD9E8D57u;
        a = high_c ^ b ^ k, b = low_c;
        c = high_a ^ d ^ m, d = low_a;
        k += 0x9E3779B9u, m += 0xBB67AE85u;
    }
    w[0] = a, w[1] = b, w[2] = c, w[3] = d;
}

// Box-Muller with the polynomials of Cephes logf, sinf and cosf.
__device__ __forceinline__ void normal_pair(word w, word v, float* x) {
    int bits = __float_as_int((float)w + 0.5f) - 0x3F3504F3;
    bool near = w > 0xB504F333u;  // near 1 the distance from 1 is exact
    float s = near ? -((float)(~w) + 0.5f) * 0x1p-32f
                   : __int_as_float((bits & 0x7FFFFF) + 0x3F3504F3) - 1.0f;
    float e = near ? 0.0f : (float)((bits >> 23) - 32);
    float p = 7.0376836292e-2f;
    p = p * s - 1.1514610310e-1f;
    p = p * s + 1.1676998740e-1f;
    p = p * s - 1.2420140846e-1f;
    p = p * s + 1.4249322787e-1f;
    p = p * s - 1.6668057665e-1f;
    p = p * s + 2.0000714765e-1f;
    p = p * s - 2.4999993993e-1f;
    p = p * s + 3.3333331174e-1f;
    float radius = sqrtf(-2.0f * (e * 0.69314718f + (s + s * s * (p * s - 0.5f))));
    word quarter = (v + 0x20000000u) >> 30;
    float t = ((float)(int)(v - (quarter << 30)) + 0.5f) * (0x1p-32f * 6.2831853f), y = t * t;
    p = -1.9515295891e-4f * y + 8.3321608736e-3f;
    p = p * y - 1.6666654611e-1f;
    float sine = t + t * (y * p);
    p = 2.443315711809948e-5f * y - 1.388731625493765e-3f;
    p = p * y + 4.166664568298827e-2f;
    float cosine = 1.0f + y * (y * p - 0.5f);
    float first = quarter & 1 ? sine : cosine, second = quarter & 1 ? cosine : sine;
    x[0] = radius * ((quarter + 1) & 2 ? -first : first);
    x[1] = radius * (quarter & 2 ? -second : second);
}

// Which block of which sample a thread owns; a division of 32 bits wherever it does.
__device__ __forceinline__ bool owned(wide samples, wide blocks, wide* sample, wide* block) {
    wide item = (wide)blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= samples * blocks) return false;
    *sample = (item | blocks) >> 32 ? item / blocks : (word)item / (word)blocks;
    *block = item - *sample * blocks;
    return true;
}

template <class T> struct alignas(16) Four {
    T of[4];
};

// Rows of a multiple of four numbers are written in fours, all others one by one.
template <class T>
__device__ __forceinline__ void write(const Four<T>& values, wide sample, wide block, wide count,
                                      T* out) {
    out += sample * count + 4 * block;
    if (count % 4 == 0) {
        *reinterpret_cast<Four<T>*>(out) = values;
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (4 * block + i < count) out[i] = values.of[i];
}

extern "C" __global__ void words(const wide* indices, wide samples, wide count, word k, word m,
                                 word* out) {
    wide sample, block;
    if (!owned(samples, (count + 3) / 4, &sample, &block)) return;
    Four<word> w;
    philox(indices[sample], (word)block, k, m, w.of);
    write(w, sample, block, count, out);
}

extern "C" __global__ void normals(const wide* indices, wide samples, wide count, word k, word m,
                                   float* out) {
    wide sample, block;
    if (!owned(samples, (count + 3) / 4, &sample, &block)) return;
    word w[4];
    Four<float> x;
    philox(indices[sample], (word)block, k, m, w);
    normal_pair(w[0], w[1], x.of);
    normal_pair(w[2], w[3], x.of + 2);
    write(x, sample, block, count, out);
}

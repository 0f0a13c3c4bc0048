/* softmax(Q Kᵀ · scale) · V for texts of any length, in float32 or bfloat16, on processors with AVX-512 or AVX2.
 *
 * A vector holds one number of each of 16 (8) queries. So keys and values are read where the projections left them,
 * one number at a time for all lanes, the maximum and the sum of a softmax need no look across lanes, and a text's
 * last block of queries wastes no more than the lanes it leaves empty. Keys go by in blocks whose scores stay in the
 * first-level cache, with the running maximum and sum of Milakov & Gimelshein 2018 (arXiv 1805.02867).
 *
 * In bfloat16 every number below that is "a word" is a pair: two neighbours along what is summed over, multiplied and
 * added in float32 by one instruction.
 */
#include <immintrin.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(64)))
#define UNROLL _Pragma("GCC unroll 16")
#define KEYS 64       /* a block of keys */
#define MOST_SIZE 256 /* numbers a head, at most */
#define ROWS 4        /* keys or dimensions that are summed up at once */

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
typedef __m512 vec;
#define LANES 16
#define MOST_VECS 4
#define each(x) _mm512_set1_ps(x)
#define load(p) _mm512_loadu_ps(p)
#define store(p, x) _mm512_storeu_ps(p, x)
#define larger(a, b) _mm512_max_ps(a, b)
#define multiply_add(a, b, c) _mm512_fmadd_ps(a, b, c)
#define nearest(x) _mm512_cvtps_epi32(x)
#define as_float(n) _mm512_cvtepi32_ps(n)
#define times_power_of_two(x, n) \
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_slli_epi32(n, 23)))
typedef __m512i ints;
#elif defined(__AVX2__) && defined(__FMA__)
typedef __m256 vec;
#define LANES 8
#define MOST_VECS 2
#define each(x) _mm256_set1_ps(x)
#define load(p) _mm256_loadu_ps(p)
#define store(p, x) _mm256_storeu_ps(p, x)
#define larger(a, b) _mm256_max_ps(a, b)
#define multiply_add(a, b, c) _mm256_fmadd_ps(a, b, c)
#define nearest(x) _mm256_cvtps_epi32(x)
#define as_float(n) _mm256_cvtepi32_ps(n)
#define times_power_of_two(x, n) \
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(n, 23)))
typedef __m256i ints;
#else
#error "neither AVX-512 nor AVX2"
#endif

/* 2^x for x <= 0, within 2e-7 of itself; what is below 2^-125 is that. A NaN stays one: hence the order in larger(). */
INLINE vec power_of_two(vec x)
{
    x = larger(each(-125.0f), x);
    ints n = nearest(x);
    vec f = x - as_float(n); /* -0.5 ... 0.5 */
    vec p = each(1.3276471e-3f);
    p = multiply_add(p, f, each(9.6755419e-3f));
    p = multiply_add(p, f, each(5.5507131e-2f));
    p = multiply_add(p, f, each(2.4022120e-1f));
    p = multiply_add(p, f, each(6.9314694e-1f));
    p = multiply_add(p, f, each(1.0000001f));
    return times_power_of_two(p, n);
}

#if defined(__AVX512BF16__)
/* Two vectors as one of pairs, `low` first, rounded to nearest, ties to even. */
INLINE vec paired(vec low, vec high)
{
    __m512i a = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(low));
    __m512i b = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(high));
    return _mm512_castsi512_ps(_mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
}

/* Two rows of values as one of pairs. */
INLINE void pair_rows(float *pairs, const uint16_t *low, const uint16_t *high, int size)
{
    for (int d = 0; d < size; d += 16) {
        __m512i a = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(low + d)));
        __m512i b = _mm512_setzero_si512();
        if (high)
            b = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(high + d))), 16);
        store(pairs + d, _mm512_castsi512_ps(_mm512_or_si512(a, b)));
    }
}
#define HAS_BFLOAT16 1
#define multiply_add_pairs(a, b, c) _mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b))
#else
INLINE vec paired(vec low, vec high) { return low + high; }
INLINE void pair_rows(float *pairs, const uint16_t *low, const uint16_t *high, int size) {}
#define HAS_BFLOAT16 0
#define multiply_add_pairs(a, b, c) multiply_add(a, b, c)
#endif

/* total[i][lane] += a[step][lane] · b[i · row + step · stride], summed over steps: the one matrix product here. */
INLINE void product(vec total[ROWS][MOST_VECS], int rows, int vecs, int half, const float *a, int steps,
                    const float *b, ptrdiff_t row, ptrdiff_t stride)
{
    for (int step = 0; step < steps; step++, a += vecs * LANES, b += stride) {
        vec x[MOST_VECS];
        UNROLL for (int v = 0; v < vecs; v++) {
            x[v] = load(a + v * LANES);
            __asm__("" : "+v"(x[v])); /* or GCC loads it anew for every row */
        }
        UNROLL for (int i = 0; i < rows; i++) {
            vec y = each(b[i * row]);
            UNROLL for (int v = 0; v < vecs; v++)
                total[i][v] = half ? multiply_add_pairs(x[v], y, total[i][v]) : multiply_add(x[v], y, total[i][v]);
        }
    }
}

/* Fetch a row that is wanted soon: rows of one head lie far apart, which no processor foresees. */
INLINE void fetch(const float *row, int words)
{
    for (int w = 0; w < words; w += 16) __builtin_prefetch(row + w);
}

/* Rows of `words` to columns and back, in squares of 4; `last` is the last row there is. */
INLINE void to_columns(float *columns, int lanes, const float *rows, ptrdiff_t stride, int last, int words)
{
    for (int lane = 0; lane < lanes; lane += 4)
        for (int w = 0; w < words; w += 4) {
            __m128 x[4];
            UNROLL for (int i = 0; i < 4; i++)
                x[i] = _mm_loadu_ps(rows + (lane + i < last ? lane + i : last) * stride + w);
            _MM_TRANSPOSE4_PS(x[0], x[1], x[2], x[3]);
            UNROLL for (int i = 0; i < 4; i++) _mm_storeu_ps(columns + (w + i) * lanes + lane, x[i]);
        }
}

INLINE void to_rows(float *rows, ptrdiff_t stride, int last, const float *columns, int lanes, int words)
{
    for (int lane = 0; lane <= last; lane += 4)
        for (int w = 0; w < words; w += 4) {
            __m128 x[4];
            UNROLL for (int i = 0; i < 4; i++) x[i] = _mm_loadu_ps(columns + (w + i) * lanes + lane);
            _MM_TRANSPOSE4_PS(x[0], x[1], x[2], x[3]);
            UNROLL for (int i = 0; i < 4; i++)
                if (lane + i <= last) _mm_storeu_ps(rows + (lane + i) * stride + w, x[i]);
        }
}

struct head {
    const float *query, *key, *value;
    float *output;
    ptrdiff_t query_stride, key_stride, value_stride, output_stride; /* from token to token, in words */
    ptrdiff_t next_query, next_key, next_value;                      /* from this head to the next */
    int keys, size;
    float scale; /* times log2(e): the exponentials are powers of two */
};

/* All keys and values for a block of queries of one head. */
INLINE void attend(const struct head *h, const float *query, float *output, int queries, int vecs, int half)
{
    const int lanes = vecs * LANES, size = h->size, words = half ? size / 2 : size, a_word = half ? 2 : 1;
    ALIGNED float columns[MOST_SIZE * MOST_VECS * LANES]; /* of the queries: [word][query] */
    ALIGNED float sums[MOST_SIZE * MOST_VECS * LANES];    /* of weighted values: [dimension][query] */
    ALIGNED float scores[KEYS * MOST_VECS * LANES];       /* [key][query], then weights */
    ALIGNED float pairs[(KEYS / 2) * (HAS_BFLOAT16 ? MOST_SIZE : 1)];
    vec most[MOST_VECS], total[MOST_VECS];
    to_columns(columns, lanes, query, h->query_stride, queries - 1, words);
    for (int i = 0; i < queries; i++) {
        fetch(query + i * h->query_stride + h->next_query, words);
        fetch(output + i * h->output_stride, words);
    }
    for (int v = 0; v < vecs; v++) most[v] = each(-__builtin_inff()), total[v] = each(0);
    for (int i = 0; i < size * vecs; i++) store(sums + i * LANES, each(0));

    for (int start = 0; start < h->keys; start += KEYS) {
        const int keys = h->keys - start < KEYS ? h->keys - start : KEYS, steps = (keys + a_word - 1) / a_word;
        const float *key = h->key + start * h->key_stride, *value = h->value + start * h->value_stride;
        ptrdiff_t value_stride = h->value_stride;
        vec shift[MOST_VECS], factor[MOST_VECS];
        for (int v = 0; v < vecs; v++) shift[v] = most[v];
        for (int k = 0, rows; k < keys; k += rows) {
            vec score[ROWS][MOST_VECS];
            UNROLL for (int i = 0; i < ROWS * vecs; i++) score[i / vecs][i % vecs] = each(0);
            rows = keys - k < ROWS ? 1 : ROWS;
            if (rows == 1)
                product(score, 1, vecs, half, columns, words, key + k * h->key_stride, h->key_stride, 1);
            else
                product(score, ROWS, vecs, half, columns, words, key + k * h->key_stride, h->key_stride, 1);
            for (int i = 0; i < rows; i++) {
                fetch(key + (k + i) * h->key_stride + h->next_key, words);
                fetch(value + (k + i) * h->value_stride + h->next_value, words);
                UNROLL for (int v = 0; v < vecs; v++) {
                    store(scores + (k + i) * lanes + v * LANES, score[i][v]);
                    shift[v] = larger(shift[v], score[i][v]);
                }
            }
        }
        UNROLL for (int v = 0; v < vecs; v++) {
            factor[v] = power_of_two((most[v] - shift[v]) * each(h->scale));
            most[v] = shift[v];
            shift[v] = shift[v] * each(-h->scale);
            total[v] = total[v] * factor[v];
        }
        for (int k = 0; k < keys; k += a_word)
            UNROLL for (int v = 0; v < vecs; v++) {
                const float *score = scores + k * lanes + v * LANES;
                vec weight = power_of_two(multiply_add(load(score), each(h->scale), shift[v]));
                total[v] = total[v] + weight;
                if (half) {
                    vec second = each(0);
                    if (k + 1 < keys) second = power_of_two(multiply_add(load(score + lanes), each(h->scale), shift[v]));
                    total[v] = total[v] + second;
                    weight = paired(weight, second);
                }
                store(scores + (k / a_word) * lanes + v * LANES, weight);
            }
        if (half) {
            for (int k = 0; k < keys; k += 2)
                pair_rows(pairs + (k / 2) * size, (const uint16_t *)(value + k * value_stride),
                          k + 1 < keys ? (const uint16_t *)(value + (k + 1) * value_stride) : NULL, size);
            value = pairs, value_stride = size;
        }
        for (int d = 0; d < size; d += ROWS) {
            vec sum[ROWS][MOST_VECS];
            UNROLL for (int i = 0; i < ROWS * vecs; i++)
                sum[i / vecs][i % vecs] = load(sums + (d * vecs + i) * LANES) * factor[i % vecs];
            product(sum, ROWS, vecs, half, scores, steps, value + d, 1, value_stride);
            UNROLL for (int i = 0; i < ROWS * vecs; i++) store(sums + (d * vecs + i) * LANES, sum[i / vecs][i % vecs]);
        }
    }

    for (int v = 0; v < vecs; v++) {
        const vec inverse = each(1) / (h->keys ? total[v] : each(__builtin_inff()));
        for (int d = 0; d < size; d += a_word) {
            float *sum = sums + d * lanes + v * LANES;
            vec result = load(sum) * inverse;
            if (half) result = paired(result, load(sum + lanes) * inverse);
            store(sums + (d / a_word) * lanes + v * LANES, result);
        }
    }
    to_rows(output, h->output_stride, queries - 1, sums, lanes, words);
}

INLINE void all_queries(const struct head *h, int queries, int half)
{
    for (int done = 0, block; done < queries; done += block) {
        const float *query = h->query + done * h->query_stride;
        float *output = h->output + done * h->output_stride;
        const int left = queries - done, vecs = (left + LANES - 1) / LANES;
        block = left < MOST_VECS * LANES ? left : MOST_VECS * LANES;
        if (vecs >= 4 && MOST_VECS >= 4) attend(h, query, output, block, MOST_VECS, half);
        else if (vecs == 3 && MOST_VECS >= 4) attend(h, query, output, block, 3, half);
        else if (vecs >= 2) attend(h, query, output, block, 2, half);
        else attend(h, query, output, block, 1, half);
    }
}

static void all_queries_float32(const struct head *h, int queries) { all_queries(h, queries, 0); }
static void all_queries_bfloat16(const struct head *h, int queries) { all_queries(h, queries, HAS_BFLOAT16); }

struct call {
    char *tensors[4];                      /* query, key, value, output */
    int64_t token_bytes[4], head_bytes[4]; /* of each: from one to the next */
    const int32_t *texts;                  /* [texts][4]: first query, queries, first key, keys */
    int32_t count, heads, size, is_half;
    float scale;
    atomic_int next;
};

static void work(void *shared)
{
    struct call *c = shared;
    for (int unit; (unit = atomic_fetch_add(&c->next, 1)) < c->count * c->heads;) {
        const int32_t *text = c->texts + 4 * (unit / c->heads);
        const int64_t head = unit % c->heads, *stride = c->token_bytes, *across = c->head_bytes;
        const struct head h = {
            .query = (float *)(c->tensors[0] + text[0] * stride[0] + head * across[0]),
            .key = (float *)(c->tensors[1] + text[2] * stride[1] + head * across[1]),
            .value = (float *)(c->tensors[2] + text[2] * stride[2] + head * across[2]),
            .output = (float *)(c->tensors[3] + text[0] * stride[3] + head * across[3]),
            .query_stride = stride[0] / 4, .key_stride = stride[1] / 4, .value_stride = stride[2] / 4,
            .output_stride = stride[3] / 4,
            .next_query = across[0] / 4, .next_key = across[1] / 4, .next_value = across[2] / 4, .keys = text[3], .size = c->size, .scale = c->scale * 1.44269504f,
        };
        (c->is_half ? all_queries_bfloat16 : all_queries_float32)(&h, text[1]);
    }
}

/* The threads of the OpenMP that PyTorch has loaded; declared here so that no second one is linked. */
extern void GOMP_parallel(void (*)(void *), void *, unsigned threads, unsigned flags) __attribute__((weak));

int llmkit_has_bfloat16(void) { return HAS_BFLOAT16; }

void llmkit_attention(struct call *c, int threads)
{
    atomic_store(&c->next, 0);
    if (GOMP_parallel && threads > 1) GOMP_parallel(work, c, threads, 0);
    else work(c);
}

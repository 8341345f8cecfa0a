// Arithmetic of the step: sixteen float lanes, bfloat16 rounding, and products of bfloat16 rows with packed tiles.
// Only `dot_pairs` and `round_lanes` know the instruction set; the rest is GNU vector code for any processor.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

constexpr int kLanes = 16;    // columns in a tile, floats in a vector
constexpr int kMaxRows = 16;  // rows that one pass over a tile serves

typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t Integers __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

template <class V, class T>
inline V load(const T* from) {
  V value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class V, class T>
inline void store(T* to, V value) {
  std::memcpy(to, &value, sizeof value);
}

inline Lanes spread(float value) { return value - Lanes{}; }

inline float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// bfloat16 rows end on an odd number of cache lines, so that sixteen of them do not fall into the same cache sets.
inline size_t row_stride(int columns) { return ((size_t(columns) + 31) / 32 | 1) * 32; }

inline Lanes widen(const uint16_t* bf16) {
  return (Lanes)(__builtin_convertvector(load<Halves>(bf16), Words) << 16);
}

// Nearest bfloat16, ties to even.
inline Halves round_lanes(Lanes value) {
#if defined(__AVX512BF16__)
  return (Halves)_mm512_cvtneps_pbh((__m512)value);
#else
  Words bits = (Words)value;
  return __builtin_convertvector((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, Halves);
#endif
}

// sum[n] + first of the pair * low half of weights[n] + second * high half: exact bfloat16 products, float sums.
inline Lanes dot_pairs(Lanes sum, uint32_t pair, Words weights) {
#if defined(__AVX512BF16__)
  return (Lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)pair), (__m512bh)weights);
#else
  sum += (Lanes)(weights << 16) * as_float(pair << 16);
  return sum + (Lanes)(weights & 0xffff0000u) * as_float(pair & 0xffff0000u);
#endif
}

// e^x within two units in the last place: x = n ln 2 + r, then a polynomial in r (Cephes expf coefficients).
inline Lanes exponential(Lanes x) {
  x = x > spread(88.0f) ? spread(88.0f) : x;
  x = x < spread(-87.0f) ? spread(-87.0f) : x;
  const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number in the low bits
  Lanes shifted = x * 1.44269504f + shift;
  Lanes n = shifted - shift;
  Lanes r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Lanes p = spread(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  Integers power = ((Integers)shifted - 0x4b400000 + 127) << 23;
  return p * (Lanes)power;
}

inline float total(Lanes value) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += value[i];
  return sum;
}

inline float largest(Lanes value) {
  float best = value[0];
  for (int i = 1; i < kLanes; ++i) best = value[i] > best ? value[i] : best;
  return best;
}

// What RMSNorm multiplies `count` floats by, before its weight.
inline float norm_scale(const float* x, int count, float epsilon) {
  Lanes squares{};
  for (int d = 0; d < count; d += kLanes) squares += load<Lanes>(x + d) * load<Lanes>(x + d);
  return 1.0f / std::sqrt(total(squares) / float(count) + epsilon);
}

struct Rows {  // bfloat16 activations, `stride` elements from row to row
  const uint16_t* data;
  size_t stride;
  Rows from(int row) const { return {data + row * stride, stride}; }
};

struct Tiles {  // words of two bfloat16 (inputs 2k, 2k+1), sixteen columns side by side
  const uint32_t* data;
  size_t tile_stride;  // words from one group of sixteen columns to the next
  size_t pair_stride;  // words from one pair of inputs to the next
  Tiles from(int tile) const { return {data + tile * tile_stride, tile_stride, pair_stride}; }
};

struct Output {  // float results, `stride` elements from row to row; `add` keeps what is there as a first summand
  float* data;
  size_t stride;
  bool add;
  Output from(int row, int tile) const { return {data + row * stride + tile * kLanes, stride, add}; }
};

// Memory that a later phase will read, as pages of kPage bytes. A product asks for one line of it with each pair of
// inputs, because the arithmetic of many rows leaves the memory idle half of the time.
using Pages = const char* const*;
constexpr int kPage = 4096, kLine = 64, kPagePairs = kPage / kLine;

template <int ROWS, int TILES>
void product(Rows a, Tiles w, int pairs, Output out, Pages soon) {
  // Another core may hold the lines of the result: asking for them now hides the wait behind the loop.
  for (int i = 0; i < ROWS; ++i)
    for (int j = 0; j < TILES; ++j) __builtin_prefetch(out.data + i * out.stride + j * kLanes, 1);
  Lanes sum[ROWS][TILES] = {};
  const char* fourth[(ROWS + 3) / 4];
  for (int i = 0; i < ROWS; i += 4) {
    fourth[i / 4] = reinterpret_cast<const char*>(a.data + i * a.stride);
    asm("" : "+r"(fourth[i / 4]));  // or GCC keeps one address for each row, in vector registers
  }
  size_t one = 2 * a.stride, three = 3 * one;
  asm("" : "+r"(three));
  const uint32_t* at = w.data;
  for (int k = 0; k < pairs; ++k, at += w.pair_stride) {
    Words weights[TILES];
#pragma GCC unroll 4
    for (int j = 0; j < TILES; ++j) {
      weights[j] = load<Words>(at + j * w.tile_stride);
      if (soon) __builtin_prefetch(at + (j + TILES) * w.tile_stride, 0, 2);
    }
    if (soon) __builtin_prefetch(soon[k / kPagePairs] + k % kPagePairs * kLine, 0, 2);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      uint32_t pair;
      std::memcpy(&pair, fourth[i / 4] + (i % 4 == 3 ? three : i % 4 * one), sizeof pair);
#pragma GCC unroll 4
      for (int j = 0; j < TILES; ++j) sum[i][j] = dot_pairs(sum[i][j], pair, weights[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < (ROWS + 3) / 4; ++i) fourth[i] += 4;
  }
  for (int i = 0; i < ROWS; ++i)
    for (int j = 0; j < TILES; ++j) {
      float* to = out.data + i * out.stride + j * kLanes;
      store(to, out.add ? load<Lanes>(to) + sum[i][j] : sum[i][j]);
    }
}

using Product = void (*)(Rows, Tiles, int, Output, Pages);

// The sums of one pass have to stay in the 32 registers, with room for the weights.
template <int ROWS>
Product choose(int tiles) {
  if constexpr (ROWS <= 6)
    if (tiles == 4) return product<ROWS, 4>;
  if constexpr (ROWS <= 14)
    if (tiles == 2) return product<ROWS, 2>;
  return product<ROWS, 1>;
}

inline int tiles_at_once(int rows, int left) {
  if (rows <= 6 && left >= 4) return 4;
  return rows <= 14 && left >= 2 ? 2 : 1;
}

inline Product kernel(int rows, int tiles) {
  using Choice = Product (*)(int);
  static constexpr Choice by_rows[kMaxRows] = {
      choose<1>, choose<2>,  choose<3>,  choose<4>,  choose<5>,  choose<6>,  choose<7>,  choose<8>,
      choose<9>, choose<10>, choose<11>, choose<12>, choose<13>, choose<14>, choose<15>, choose<16>};
  return by_rows[rows - 1](tiles);
}

// Pages that one pass over tiles with `pairs` pairs of inputs asks for.
inline int pages_in_pass(int pairs) { return (pairs + kPagePairs - 1) / kPagePairs; }

// out[rows, 16 tiles] (+)= a[rows, 2 pairs] * w for at most kMaxRows rows; `soon` is absent, or holds
// pages_in_pass(pairs) pages for each tile.
inline void multiply(Rows a, int rows, Tiles w, int tiles, int pairs, Output out, Pages soon = nullptr) {
  for (int t = 0; t < tiles;) {
    int width = tiles_at_once(rows, tiles - t);
    kernel(rows, width)(a, w.from(t), pairs, out.from(0, t), soon);
    t += width;
    if (soon) soon += pages_in_pass(pairs);
  }
}

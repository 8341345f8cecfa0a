// Sixteen float lanes, bfloat16 rounding, and the functions of one number that the model takes of each.
// Only `dot_pairs` and `round_lanes` know the instruction set; the rest is GNU vector code for any processor.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

constexpr int kLanes = 16;

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

inline float widen(uint16_t bf16) { return as_float(uint32_t(bf16) << 16); }

inline Lanes widen_lanes(const uint16_t* bf16) {
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

// Every lane holds what all lanes come to by `join`, halves at a time.
template <class Join>
inline Lanes joined(Lanes value, Join join) {
  value = join(value, __builtin_shuffle(value, Integers{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}));
  value = join(value, __builtin_shuffle(value, Integers{4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11}));
  value = join(value, __builtin_shuffle(value, Integers{2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13}));
  return join(value, __builtin_shuffle(value, Integers{1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14}));
}

inline float total(Lanes value) {
  return joined(value, [](Lanes a, Lanes b) { return a + b; })[0];
}

inline float largest(Lanes value) {
  return joined(value, [](Lanes a, Lanes b) { return a > b ? a : b; })[0];
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

inline Lanes silu(Lanes x) { return x / (exponential(-x) + 1.0f); }

// x times the normal distribution's share below x; the error function by Abramowitz and Stegun 7.1.26 (1.5e-7).
inline Lanes gelu(Lanes x) {
  Lanes size = (x > Lanes{} ? x : -x) * 0.70710678f;
  Lanes t = 1.0f / (size * 0.3275911f + 1.0f);
  Lanes p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  Lanes beyond = p * t * exponential(-size * size) * 0.5f;
  return x * (x > Lanes{} ? 1.0f - beyond : beyond);
}

// The approximation by a hyperbolic tangent: (1 + tanh(y)) / 2 is the logistic function of 2 y.
inline Lanes gelu_tanh(Lanes x) {
  Lanes y = (x + x * x * x * 0.044715f) * 1.5957691216f;
  return x / (exponential(-y) + 1.0f);
}

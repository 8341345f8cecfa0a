// Products of bfloat16 rows with weights that are packed into tiles, and the memory that they work in.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "lanes.h"

constexpr int kMaxRows = 16;  // rows that one pass over a tile serves

// bfloat16 rows end on an odd number of cache lines, so that sixteen of them do not fall into the same cache sets.
inline size_t row_stride(int columns) { return ((size_t(columns) + 31) / 32 | 1) * 32; }
inline int up_to_lanes(int count) { return (count + kLanes - 1) / kLanes * kLanes; }

// Memory of whole cache lines that grows when more is asked for, and is zeroed then.
template <class T>
class Block {
 public:
  T* room(size_t count) {
    if (count > size_) {
      size_t bytes = (count * sizeof(T) + 127) / 64 * 64;
      void* memory = std::aligned_alloc(64, bytes);
      if (memory == nullptr) throw std::bad_alloc();
      std::memset(memory, 0, bytes);
      data_.reset(static_cast<T*>(memory));
      size_ = count;
    }
    return data_.get();
  }
  T* get() const { return data_.get(); }

 private:
  struct Release { void operator()(T* memory) const { std::free(memory); } };
  std::unique_ptr<T, Release> data_;
  size_t size_ = 0;
};

// out[rows][16 tiles] = bias + the sum over taps of a(tap)[rows][2 pairs] * w(tap); `add` adds it to what is there.
struct Job {
  const uint16_t* a;
  size_t row, jump;        // numbers from row to row of `a`, and from tap to tap
  const uint32_t* w;       // words of two bfloat16 (inputs 2k, 2k+1), sixteen columns side by side; tap follows tap
  size_t tile, step;       // words from tile to tile, and from pair to pair
  int pairs, taps;
  const float* bias;       // of all columns, or null
  float* out;
  size_t stride;
  bool add;
};

template <int ROWS, int TILES>
void product(const Job& job) {
  // Every loop over the sums is unrolled: otherwise they lie in memory before and behind the products.
  Lanes sum[ROWS][TILES];
#pragma GCC unroll 2
  for (int j = 0; j < TILES; ++j) {
    Lanes first = job.bias ? load<Lanes>(job.bias + j * kLanes) : Lanes{};
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) sum[i][j] = first;
  }
  const uint32_t* at = job.w;
  const size_t tile = job.tile, step = job.step;
  size_t one = 2 * job.row, three = 3 * one;
  asm("" : "+r"(three));
  for (int tap = 0; tap < job.taps; ++tap) {
    const char* fourth[(ROWS + 3) / 4];
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; i += 4) {
      fourth[i / 4] = reinterpret_cast<const char*>(job.a + tap * job.jump + i * job.row);
      asm("" : "+r"(fourth[i / 4]));  // or GCC keeps one address for each row, in vector registers
    }
    for (int k = 0; k < job.pairs; ++k, at += step) {
      Words weights[TILES];
#pragma GCC unroll 2
      for (int j = 0; j < TILES; ++j) weights[j] = load<Words>(at + j * tile);
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i) {
        uint32_t pair;
        std::memcpy(&pair, fourth[i / 4] + (i % 4 == 3 ? three : i % 4 * one), sizeof pair);
#pragma GCC unroll 2
        for (int j = 0; j < TILES; ++j) sum[i][j] = dot_pairs(sum[i][j], pair, weights[j]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < (ROWS + 3) / 4; ++i) fourth[i] += 4;
    }
  }
  float* to = job.out;
  const size_t stride = job.stride;
  const bool add = job.add;
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i, to += stride)
#pragma GCC unroll 2
    for (int j = 0; j < TILES; ++j)
      store(to + j * kLanes, add ? load<Lanes>(to + j * kLanes) + sum[i][j] : sum[i][j]);
}

using Product = void (*)(const Job&);

// Two tiles at a time as long as their sums stay in the registers, with room for the weights.
inline Product kernel(int rows, bool two) {
  static constexpr Product single[kMaxRows] = {
      product<1, 1>, product<2, 1>,  product<3, 1>,  product<4, 1>,  product<5, 1>,  product<6, 1>,
      product<7, 1>, product<8, 1>,  product<9, 1>,  product<10, 1>, product<11, 1>, product<12, 1>,
      product<13, 1>, product<14, 1>, product<15, 1>, product<16, 1>};
  static constexpr Product twin[14] = {
      product<1, 2>, product<2, 2>, product<3, 2>,  product<4, 2>,  product<5, 2>,  product<6, 2>,  product<7, 2>,
      product<8, 2>, product<9, 2>, product<10, 2>, product<11, 2>, product<12, 2>, product<13, 2>, product<14, 2>};
  return two ? twin[rows - 1] : single[rows - 1];
}

// How many blocks so many rows are cut into; with more than one tile they are of at most fourteen rows.
inline int blocks_of(int rows, int tiles) {
  int most = tiles > 1 ? 14 : kMaxRows;
  return (rows + most - 1) / most;
}

inline void multiply(const Job& whole, int rows, int tiles) {
  int blocks = blocks_of(rows, tiles);
  for (int block = 0; block < blocks; ++block) {
    int first = rows * block / blocks, count = rows * (block + 1) / blocks - first;
    for (int tile = 0; tile < tiles; tile += 2) {
      Job job = whole;
      job.a += first * whole.row;
      job.w += tile * whole.tile;
      job.bias = whole.bias ? whole.bias + tile * kLanes : nullptr;
      job.out += first * whole.stride + tile * kLanes;
      kernel(count, tiles - tile > 1)(job);
    }
  }
}

// What the model's folder holds: tensors of bfloat16 by their published names, and numbers of its config.
struct Stated {
  std::map<std::string, std::pair<const uint16_t*, size_t>> tensors;
  std::map<std::string, double> numbers;

  bool holds(const std::string& name) const { return tensors.count(name) > 0; }

  const uint16_t* tensor(const std::string& name, size_t count) const {
    auto found = tensors.find(name);
    if (found == tensors.end()) throw std::invalid_argument("there is no tensor " + name);
    if (found->second.second != count) throw std::invalid_argument(name + " is not of the size that config.json says");
    return found->second.first;
  }

  std::vector<float> floats(const std::string& name, size_t count) const {
    const uint16_t* from = tensor(name, count);
    std::vector<float> wide(up_to_lanes(int(count)));
    for (size_t i = 0; i < count; ++i) wide[i] = widen(from[i]);
    return wide;
  }

  double number(const std::string& name, double otherwise = NAN) const {
    auto found = numbers.find(name);
    if (found == numbers.end() && std::isnan(otherwise)) throw std::invalid_argument("config.json has no " + name);
    return found == numbers.end() ? otherwise : found->second;
  }

  int width(const std::string& name) const {
    int value = int(number(name));
    if (value % kLanes) throw std::invalid_argument(name + " is no multiple of 16");
    return value;
  }
};

// Linear maps of one input, their outputs one after the other, or a convolution whose taps are its kernel's rows.
struct Linear {
  int inputs = 0, outputs = 0, tiles = 0, taps = 1;
  Block<uint32_t> words;
  std::vector<float> bias;

  void shape(int in, int out, int rows_of_kernel = 1) {
    if (in % 2) throw std::invalid_argument("a product of an odd number of inputs");
    inputs = in, outputs = out, taps = rows_of_kernel, tiles = (out + kLanes - 1) / kLanes;
    words.room(size_t(tiles) * taps * in / 2 * kLanes);
    bias.assign(size_t(tiles) * kLanes, 0.0f);
  }

  // Rows of a row-major [count][taps * inputs] tensor as outputs first, first + 1, ...; `own` is their bias or null.
  void pack(const uint16_t* tensor, int count, int first = 0, const uint16_t* own = nullptr) {
    size_t pairs = size_t(taps) * inputs / 2;
    for (int row = 0; row < count; ++row) {
      int at = first + row;
      uint32_t* tile = words.get() + at / kLanes * pairs * kLanes + at % kLanes;
      for (size_t k = 0; k < pairs; ++k) std::memcpy(tile + k * kLanes, tensor + (row * pairs + k) * 2, 4);
      if (own) bias[at] = widen(own[row]);
    }
  }

  // A tensor `name`.weight [count][inputs], with `name`.bias where there is one.
  void take(const Stated& stated, const std::string& name, int count, int first = 0) {
    const uint16_t* own = stated.holds(name + ".bias") ? stated.tensor(name + ".bias", count) : nullptr;
    pack(stated.tensor(name + ".weight", size_t(count) * inputs), count, first, own);
  }

  static Linear of(const Stated& stated, const std::string& name, int in, int out) {
    Linear made;
    made.shape(in, out);
    made.take(stated, name, out);
    return made;
  }

  void apply(const uint16_t* a, size_t row, int rows, float* out, size_t stride, bool add = false) const {
    size_t pairs = size_t(inputs) / 2;
    multiply({a, row, 0, words.get(), pairs * kLanes, kLanes, int(pairs), 1, bias.data(), out, stride, add}, rows, tiles);
  }
};

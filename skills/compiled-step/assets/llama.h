// The sizes of a Llama or a Qwen3 and its packed weights.
#pragma once
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernels.h"

struct Shape {  // the same fields in the same order as `Shape` in model.py
  int32_t hidden, layers, heads, kv_heads, head_dim, intermediate, vocabulary, slots, context, threads;
  float epsilon;
  const float* frequencies;  // [head_dim / 2], read while the model is created

  int group() const { return heads / kv_heads; }
  int query_width() const { return heads * head_dim; }
  int kv_width() const { return kv_heads * head_dim; }
  int qkv_width() const { return query_width() + 2 * kv_width(); }
  int head_block() const { return (group() + 2) * head_dim; }  // columns of qkv: queries, key, value of one key head
  int cached() const { return (context + kLanes - 1) / kLanes * kLanes; }  // positions that a slot has room for
};

// Zeroed memory on large pages where the system has them: 50 MB of weights in 4 KB pages overrun the TLB.
template <class T>
class Block {
 public:
  explicit Block(size_t count = 0) {
    if (count == 0) return;
    constexpr size_t page = size_t(2) << 20;
    size_t bytes = (count * sizeof(T) + page - 1) / page * page;
    void* memory = std::aligned_alloc(page, bytes);
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    std::memset(memory, 0, bytes);
    data_.reset(static_cast<T*>(memory));
  }
  T* get() const { return data_.get(); }

 private:
  struct Release { void operator()(T* memory) const { std::free(memory); } };
  std::unique_ptr<T, Release> data_;
};

// A weight of `inputs` by 16 * `tiles` outputs, as words of input pairs, sixteen outputs side by side.
struct Matrix {
  uint32_t* data = nullptr;
  int tiles = 0, pairs = 0;

  size_t words() const { return size_t(tiles) * pairs * kLanes; }
  Tiles view() const { return {data, size_t(pairs) * kLanes, kLanes}; }

  // Packs `rows` rows of a row-major [rows, inputs] tensor into tiles first, first + step, ...
  void pack(const uint16_t* tensor, int rows, int first, int step) {
    for (int row = 0; row < rows; ++row) {
      uint32_t* tile = data + size_t(first + row / kLanes * step) * pairs * kLanes + row % kLanes;
      for (int k = 0; k < pairs; ++k) std::memcpy(tile + size_t(k) * kLanes, tensor + (size_t(row) * pairs + k) * 2, 4);
    }
  }
};

struct Chunk {  // `length` tokens of a slot from position `start` on, as rows of the step from `first_row` on
  int slot, start, first_row, length;
};

struct Layer {
  Matrix qkv, output, gate_up, down;  // gate_up alternates: a tile of gate, the same tile of up
  std::vector<uint16_t> attention_norm, mlp_norm;
  std::vector<uint16_t> query_norm, key_norm;  // [head_dim], or empty where queries and keys are not normalised
};

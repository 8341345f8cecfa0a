// Rotary embedding, the caches of keys and values, and attention over them.
#pragma once
#include <algorithm>

#include "llama.h"

// cos and sin of position * frequencies[i], float as in the reference.
struct Rotary {
  int half;
  std::vector<float> cosine, sine;

  Rotary(int positions, int head_dim, const float* frequencies)
      : half(head_dim / 2), cosine(size_t(positions) * half), sine(cosine.size()) {
    for (int i = 0; i < half; ++i) {
      float frequency = frequencies[i];
      for (int p = 0; p < positions; ++p) {
        cosine[size_t(p) * half + i] = std::cos(float(p) * frequency);
        sine[size_t(p) * half + i] = std::sin(float(p) * frequency);
      }
    }
  }

  void apply(const float* from, int position, float* to) const {
    const float* c = &cosine[size_t(position) * half];
    const float* s = &sine[size_t(position) * half];
    for (int i = 0; i < half; ++i) {
      to[i] = from[i] * c[i] - from[i + half] * s[i];
      to[i + half] = from[i + half] * c[i] + from[i] * s[i];
    }
  }
};

// Keys and values of one layer, slot and head, both stored as the right-hand side of a product: keys with positions
// as columns and head_dim as inputs, values with head_dim as columns and positions as inputs.
struct Head {
  uint32_t* keys;
  uint32_t* values;
  int dim;

  Tiles key_tiles() const { return {keys, size_t(dim) / 2 * kLanes, kLanes}; }
  Tiles value_tiles() const { return {values, kLanes, size_t(dim)}; }

  void write(int position, const float* key, const float* value) {
    uint16_t rounded[2 * kLanes];
    uint32_t* column = keys + size_t(position / kLanes) * dim / 2 * kLanes + position % kLanes;
    uint16_t* row = reinterpret_cast<uint16_t*>(values + size_t(position / 2) * dim) + position % 2;
    for (int d = 0; d < dim; d += kLanes) {
      store(rounded, round_lanes(load<Lanes>(key + d)));
      store(rounded + kLanes, round_lanes(load<Lanes>(value + d)));
      for (int i = 0; i < kLanes / 2; ++i) std::memcpy(column + (d / 2 + i) * kLanes, rounded + 2 * i, 4);
      for (int i = 0; i < kLanes; ++i) row[2 * (d + i)] = rounded[kLanes + i];
    }
  }

  // Appends the pages that hold the first `length` positions.
  void list_pages(int length, std::vector<const char*>& pages) const {
    for (const uint32_t* part : {keys, values})
      for (size_t at = 0; at < size_t(length) * dim * 2; at += kPage)
        pages.push_back(reinterpret_cast<const char*>(part) + at);
  }

  void copy_from(const Head& other, int length) {
    size_t tiles = size_t(length + kLanes - 1) / kLanes, pairs = size_t(length + 1) / 2;
    std::memcpy(keys, other.keys, tiles * dim / 2 * kLanes * sizeof *keys);
    std::memcpy(values, other.values, pairs * dim * sizeof *values);
  }
};

class Cache {
 public:
  explicit Cache(const Shape& shape)
      : shape_(shape), words_(size_t(shape.cached()) * shape.head_dim / 2),
        block_(2 * words_ * shape.layers * shape.slots * shape.kv_heads) {}

  Head head(int layer, int slot, int head) const {
    size_t index = (size_t(layer) * shape_.slots + slot) * shape_.kv_heads + head;
    uint32_t* keys = block_.get() + 2 * words_ * index;
    return {keys, keys + words_, shape_.head_dim};
  }

 private:
  Shape shape_;
  size_t words_;  // of the keys, and of the values, of one head
  Block<uint32_t> block_;
};

class Attention {
 public:
  explicit Attention(const Shape& shape)
      : shape_(shape), rotary_(shape.cached(), shape.head_dim, shape.frequencies), cache_(shape), scratch_(shape.threads) {
    for (auto& scratch : scratch_) {
      scratch.scores.resize(size_t(kMaxRows) * (shape.cached() + kLanes));
      scratch.weights.resize(kMaxRows * row_stride(shape.cached()));
      scratch.queries.resize(kMaxRows * row_stride(shape.head_dim));
      scratch.mixed.resize(size_t(kMaxRows) * shape.head_dim);
      scratch.normed.resize(shape.head_dim);
      scratch.rotated.resize(shape.head_dim);
    }
  }

  const Cache& cache() const { return cache_; }

  // Caches keys and values of a chunk for one key head of `layer`, then attends with the query heads that share it.
  // `qkv` holds the head's columns of each row of the step: queries, key, value; the result goes to rows of `mixed`.
  void attend(const Chunk& chunk, int layer, const Layer& weights, int head, const float* qkv, uint16_t* mixed,
              int thread) {
    Task task{chunk, weights, cache_.head(layer, chunk.slot, head), head, qkv, mixed, scratch_[thread]};
    write_cache(task);
    int at_once = kMaxRows / shape_.group();
    for (int row = 0; row < chunk.length; row += at_once)
      attend_rows(task, row, std::min(at_once, chunk.length - row));
  }

 private:
  struct Scratch {  // one per thread
    std::vector<float> scores, mixed, normed, rotated;
    std::vector<uint16_t> weights, queries;
  };

  struct Task {
    const Chunk& chunk;
    const Layer& weights;
    Head cached;
    int head;
    const float* qkv;
    uint16_t* mixed;
    Scratch& scratch;
  };

  void write_cache(Task& task) const {
    for (int i = 0; i < task.chunk.length; ++i) {
      const float* row = task.qkv + size_t(task.chunk.first_row + i) * shape_.head_block();
      const float* key = row + shape_.group() * shape_.head_dim;
      turn(task, key, task.weights.key_norm, task.chunk.start + i);
      task.cached.write(task.chunk.start + i, task.scratch.rotated.data(), key + shape_.head_dim);
    }
  }

  // Normalises a query or a key where the model does so, and turns it to its position, into `rotated`.
  void turn(Task& task, const float* from, const std::vector<uint16_t>& norm, int position) const {
    if (!norm.empty()) {
      float* normed = task.scratch.normed.data();
      float scale = norm_scale(from, shape_.head_dim, shape_.epsilon);
      for (int d = 0; d < shape_.head_dim; d += kLanes)
        store(normed + d, load<Lanes>(from + d) * scale * widen(&norm[d]));
      from = normed;
    }
    rotary_.apply(from, position, task.scratch.rotated.data());
  }

  // Rows [row, row + count) of the chunk with all query heads of the key head, as up to kMaxRows queries.
  void attend_rows(Task& task, int row, int count) const {
    Scratch& scratch = task.scratch;
    int group = shape_.group(), dim = shape_.head_dim, queries = count * group;
    int seen = task.chunk.start + row, tiles = (seen + count + kLanes - 1) / kLanes;
    Rows query{scratch.queries.data(), row_stride(dim)}, weights{scratch.weights.data(), row_stride(tiles * kLanes)};
    Output scores{scratch.scores.data(), size_t(tiles + 1) * kLanes, false};
    rotate_queries(task, row, queries);
    multiply(query, queries, task.cached.key_tiles(), tiles, dim / 2, scores);
    float sums[kMaxRows];
    for (int i = 0; i < queries; ++i)
      sums[i] = soften(scores.data + i * scores.stride, seen + i / group + 1, tiles,
                       scratch.weights.data() + i * weights.stride);
    multiply(weights, queries, task.cached.value_tiles(), dim / kLanes, tiles * kLanes / 2,
             {scratch.mixed.data(), size_t(dim), false});
    for (int i = 0; i < queries; ++i) {
      uint16_t* to = mixed_head(task, row + i / group, i % group);
      for (int d = 0; d < dim; d += kLanes)
        store(to + d, round_lanes(load<Lanes>(&scratch.mixed[i * dim + d]) * (1.0f / sums[i])));
    }
  }

  uint16_t* mixed_head(const Task& task, int row, int member) const {
    return task.mixed + (task.chunk.first_row + row) * row_stride(shape_.query_width()) +
           (task.head * shape_.group() + member) * shape_.head_dim;
  }

  void rotate_queries(Task& task, int row, int queries) const {
    int group = shape_.group(), dim = shape_.head_dim;
    for (int i = 0; i < queries; ++i) {
      const float* from = task.qkv + size_t(task.chunk.first_row + row + i / group) * shape_.head_block();
      turn(task, from + i % group * dim, task.weights.query_norm, task.chunk.start + row + i / group);
      for (int d = 0; d < dim; d += kLanes) {
        store(&task.scratch.queries[i * row_stride(dim) + d], round_lanes(load<Lanes>(&task.scratch.rotated[d])));
        __builtin_prefetch(mixed_head(task, row + i / group, i % group) + d, 1);
      }
    }
  }

  // Turns scores of the first `length` positions into rounded e^(score - max), zero beyond; returns their sum,
  // taken after the rounding so that the weights add up to one.
  float soften(float* scores, int length, int tiles, uint16_t* weights) const {
    const Integers order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    float scale = 1.0f / std::sqrt(float(shape_.head_dim));
    Lanes best = spread(-3.0e38f), sum{};
    for (int t = 0; t < tiles; ++t) {
      Lanes score = load<Lanes>(scores + t * kLanes) * scale;
      score = order + t * kLanes < length ? score : spread(-3.0e38f);
      best = score > best ? score : best;
      store(scores + t * kLanes, score);
    }
    float top = largest(best);
    for (int t = 0; t < tiles; ++t) {
      Lanes weight = exponential(load<Lanes>(scores + t * kLanes) - top);
      weight = order + t * kLanes < length ? weight : Lanes{};
      store(weights + t * kLanes, round_lanes(weight));
      sum += widen(weights + t * kLanes);
    }
    return total(sum);
  }

  Shape shape_;
  Rotary rotary_;
  Cache cache_;
  std::vector<Scratch> scratch_;
};

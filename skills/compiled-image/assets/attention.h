// Keys and values of places, kept as the right-hand sides of products, and what queries see of them.
#pragma once
#include "products.h"

constexpr int kWidest = 512;  // numbers of a head that there is room for

// Heads of one layer: query heads share key heads in groups; norms over a head's numbers where there are any.
struct Heads {
  int heads = 0, kv_heads = 0, dim = 0;
  float eps = 0;
  std::vector<float> query_norm, key_norm;

  int group() const { return heads / kv_heads; }
  int padded() const { return up_to_lanes(dim); }
  void check() const {
    if (dim % 2 || dim > kWidest - kLanes || heads % kv_heads || group() > kMaxRows)
      throw std::invalid_argument("heads of a size, or in groups, that are not computed");
  }
  int query_width() const { return heads * dim; }
  int kv_width() const { return kv_heads * dim; }
  int width() const { return query_width() + 2 * kv_width(); }  // of a row: queries, keys, values
};

// Rows [first, first + length) of a pass, which stand at places from `start` on; causal rows see none behind them.
struct Span {
  int first, length, start;
  bool causal;
  const float* angles;  // [place][cosines, signed sines][padded dim], or null
};

// Keys have places as columns and a head's numbers as inputs; values the other way round.
class Cache {
 public:
  void room(const Heads& heads, int places) {
    places_ = up_to_lanes(places);
    dim_ = heads.dim, columns_ = heads.padded();
    keys_.room(size_t(heads.kv_heads) * places_ * dim_ / 2);
    values_.room(size_t(heads.kv_heads) * places_ * columns_ / 2);
  }

  uint32_t* keys(int head) const { return keys_.get() + size_t(head) * places_ * dim_ / 2; }
  uint32_t* values(int head) const { return values_.get() + size_t(head) * places_ * columns_ / 2; }

  void write(int head, int place, const uint16_t* key, const float* value) const {
    uint32_t* column = keys(head) + size_t(place / kLanes) * dim_ / 2 * kLanes + place % kLanes;
    for (int pair = 0; pair < dim_ / 2; ++pair) std::memcpy(column + pair * kLanes, key + 2 * pair, 4);
    uint16_t* row = reinterpret_cast<uint16_t*>(values(head) + size_t(place / 2) * columns_) + place % 2;
    for (int d = 0; d < dim_; d += kLanes) {
      Halves rounded = round_lanes(load<Lanes>(value + d));
      for (int i = 0; i < std::min(kLanes, dim_ - d); ++i) row[2 * (d + i)] = rounded[i];
    }
  }

 private:
  int places_ = 0, dim_ = 0, columns_ = 0;
  Block<uint32_t> keys_, values_;
};

class Attention {
 public:
  // Keeps the keys and values of a span, and writes what its queries see to rows of `mixed`.
  // `rows` are [.][stride] floats; a few more than the last row may be read.
  void attend(const Heads& heads, const Cache& cache, const Span& span, const float* rows, size_t stride,
              uint16_t* mixed, size_t mixed_stride) {
    const float* of_span = rows + span.first * stride;
    alignas(64) uint16_t key[kWidest];
    for (int i = 0; i < span.length; ++i)
      for (int head = 0; head < heads.kv_heads; ++head) {
        const float* from = of_span + i * stride + heads.query_width() + head * heads.dim;
        turn(heads, heads.key_norm, from, angles(heads, span, i), key);
        cache.write(head, span.start + i, key, from + heads.kv_width());
      }
    int at_once = kMaxRows / heads.group();
    for (int head = 0; head < heads.kv_heads; ++head)
      for (int row = 0; row < span.length; row += at_once) {
        Group group{heads, cache, span, head, row, std::min(at_once, span.length - row)};
        look(group, of_span, stride);
        for (int i = 0; i < group.queries(); ++i) {
          uint16_t* to = mixed + (span.first + row + i / heads.group()) * mixed_stride;
          give(heads, i, to + (head * heads.group() + i % heads.group()) * heads.dim);
        }
      }
  }

 private:
  struct Group {  // the queries of some rows that share a key head
    const Heads& heads;
    const Cache& cache;
    const Span& span;
    int head, row, rows;
    int queries() const { return rows * heads.group(); }
  };

  static const float* angles(const Heads& heads, const Span& span, int row) {
    return span.angles ? span.angles + size_t(span.start + row) * 2 * heads.padded() : nullptr;
  }

  // A head's numbers, normalised where there is a norm and turned where there are angles, rounded.
  static void turn(const Heads& heads, const std::vector<float>& norm, const float* from, const float* angles,
                   uint16_t* to) {
    alignas(64) float twice[2 * kWidest];
    int dim = heads.dim, half = dim / 2;
    std::memcpy(twice, from, dim * sizeof *from);
    if (!norm.empty()) {
      std::memset(twice + dim, 0, kLanes * sizeof *twice);
      Lanes squares{};
      for (int d = 0; d < dim; d += kLanes) squares += load<Lanes>(twice + d) * load<Lanes>(twice + d);
      float scale = 1.0f / std::sqrt(total(squares) / float(dim) + heads.eps);
      for (int d = 0; d < dim; d += kLanes) store(twice + d, load<Lanes>(twice + d) * scale * load<Lanes>(&norm[d]));
    }
    std::memcpy(twice + dim, twice, dim * sizeof *twice);
    for (int d = 0; d < dim; d += kLanes) {
      Lanes value = load<Lanes>(twice + d);
      if (angles)
        value = value * load<Lanes>(angles + d) + load<Lanes>(twice + d + half) * load<Lanes>(angles + heads.padded() + d);
      store(to + d, round_lanes(value));
    }
  }

  void look(const Group& group, const float* rows, size_t stride) {
    const Heads& heads = group.heads;
    int seen = group.span.start + (group.span.causal ? group.row + group.rows : group.span.length);
    int tiles = (seen + kLanes - 1) / kLanes, queries = group.queries();
    size_t query_stride = row_stride(heads.dim), wide = size_t(tiles) * kLanes, narrow = row_stride(int(wide));
    uint16_t* query = queries_.room(kMaxRows * query_stride + kLanes);
    for (int i = 0; i < queries; ++i) {
      int row = group.row + i / heads.group(), head = group.head * heads.group() + i % heads.group();
      turn(heads, heads.query_norm, rows + row * stride + head * heads.dim, angles(heads, group.span, row),
           query + i * query_stride);
    }
    float* scores = scores_.room(kMaxRows * wide);
    uint16_t* weights = weights_.room(kMaxRows * narrow);
    int pairs = heads.dim / 2, columns = heads.padded();
    multiply({query, query_stride, 0, group.cache.keys(group.head), size_t(pairs) * kLanes, kLanes, pairs, 1, nullptr,
              scores, wide, false}, queries, tiles);
    float scale = 1.0f / std::sqrt(float(heads.dim));
    for (int i = 0; i < queries; ++i) {
      int visible = group.span.causal ? group.span.start + group.row + i / heads.group() + 1 : seen;
      sums_[i] = soften(scores + i * wide, visible, tiles, scale, weights + i * narrow);
    }
    multiply({weights, narrow, 0, group.cache.values(group.head), kLanes, size_t(columns), tiles * kLanes / 2, 1, nullptr,
              mixed_.room(kMaxRows * columns), size_t(columns), false}, queries, columns / kLanes);
  }

  void give(const Heads& heads, int query, uint16_t* to) const {
    alignas(64) uint16_t rounded[kWidest];
    for (int d = 0; d < heads.dim; d += kLanes)
      store(rounded + d, round_lanes(load<Lanes>(mixed_.get() + query * heads.padded() + d) * (1.0f / sums_[query])));
    std::memcpy(to, rounded, heads.dim * sizeof *to);
  }

  // Rounded e^(score - max) of the first `visible` places, zero beyond; their sum is of the rounded ones.
  static float soften(float* scores, int visible, int tiles, float scale, uint16_t* weights) {
    const Integers order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const Lanes never = spread(-3.0e38f);
    Lanes best = never, sum{};
    for (int t = 0; t < tiles; ++t) {
      Lanes score = load<Lanes>(scores + t * kLanes) * scale;
      if ((t + 1) * kLanes > visible) score = order + t * kLanes < visible ? score : never;
      best = score > best ? score : best;
      store(scores + t * kLanes, score);
    }
    float top = largest(best);
    for (int t = 0; t < tiles; ++t) {
      Halves weight = round_lanes(exponential(load<Lanes>(scores + t * kLanes) - top));
      store(weights + t * kLanes, weight);
      if ((t + 1) * kLanes > visible)
        for (int i = std::max(0, visible - t * kLanes); i < kLanes; ++i) weights[t * kLanes + i] = 0;
      sum += widen_lanes(weights + t * kLanes);
    }
    return total(sum);
  }

  Block<uint16_t> queries_, weights_;
  Block<float> scores_, mixed_;
  float sums_[kMaxRows];
};

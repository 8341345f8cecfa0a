// Layers of the two stacks and of the semantic tower, over rows of float.
#pragma once
#include "attention.h"

constexpr int kBlock = 14;  // rows whose intermediate results stay in the nearest cache

// Rows in blocks of nearly equal size.
template <class Work>
void in_blocks(int rows, const Work& work) {
  int blocks = blocks_of(rows, 2);
  for (int block = 0; block < blocks; ++block) {
    int first = rows * block / blocks;
    work(first, rows * (block + 1) / blocks - first);
  }
}

// Unit root mean square, weighted; then scaled and shifted by a modulation where there is one.
inline void normalise(const float* x, const std::vector<float>& weight, int width, float eps, const float* shift,
                      uint16_t* to) {
  Lanes squares{};
  for (int d = 0; d < width; d += kLanes) squares += load<Lanes>(x + d) * load<Lanes>(x + d);
  float scale = 1.0f / std::sqrt(total(squares) / float(width) + eps);
  for (int d = 0; d < width; d += kLanes) {
    Lanes value = load<Lanes>(x + d) * scale * load<Lanes>(&weight[d]);
    if (shift) value = value * (load<Lanes>(shift + width + d) + 1.0f) + load<Lanes>(shift + d);
    store(to + d, round_lanes(value));
  }
}

template <class Each>
void each(const float* from, size_t stride, int rows, int width, uint16_t* to, size_t to_stride, const Each& function) {
  for (int row = 0; row < rows; ++row)
    for (int d = 0; d < width; d += kLanes)
      store(to + row * to_stride + d, round_lanes(function(load<Lanes>(from + row * stride + d))));
}

// What a pass works in; one for all layers.
struct Desk {
  Attention attention;
  Block<uint16_t> narrow, mixed, inner;
  Block<float> wide, gated;
};

// A layer of the language model or of the flow head: attention, then a gated MLP.
struct Layer {
  int hidden = 0, intermediate = 0;
  float eps = 0;
  Heads heads;
  Linear qkv, output, gate_up, down;
  std::vector<float> first_norm, second_norm;

  static Layer of(const Stated& stated, const std::string& stack, const std::string& name) {
    Layer made;
    made.hidden = stated.width(stack + ".hidden"), made.intermediate = stated.width(stack + ".intermediate");
    made.eps = float(stated.number(stack + ".eps", 1e-6));
    made.first_norm = stated.floats(name + ".input_layernorm.weight", made.hidden);
    made.second_norm = stated.floats(name + ".post_attention_layernorm.weight", made.hidden);
    made.take_attention(stated, stack, name + ".self_attn");
    made.gate_up.shape(made.hidden, 2 * made.intermediate);
    made.gate_up.take(stated, name + ".mlp.gate_proj", made.intermediate);
    made.gate_up.take(stated, name + ".mlp.up_proj", made.intermediate, made.intermediate);
    made.down = Linear::of(stated, name + ".mlp.down_proj", made.intermediate, made.hidden);
    return made;
  }

  // x += what the rows see of each other and of the caches, then the MLP; `told` holds shift, scale, gate, and again.
  void pass(float* x, int rows, const std::vector<Span>& spans, Cache* caches, const float* told, Desk& desk) const {
    size_t width = size_t(qkv.tiles) * kLanes, narrow = row_stride(heads.query_width());
    float* wide = desk.wide.room(rows * width + kLanes);
    uint16_t* mixed = desk.mixed.room(rows * narrow);
    in_blocks(rows, [&](int first, int count) {
      uint16_t* normal = normalised(x + first * hidden, count, first_norm, told, desk);
      qkv.apply(normal, row_stride(hidden), count, wide + first * width, width);
    });
    for (const Span& span : spans) desk.attention.attend(heads, *caches++, span, wide, width, mixed, narrow);
    in_blocks(rows, [&](int first, int count) {
      float* at = x + first * hidden;
      add(output, mixed + first * narrow, narrow, count, at, told ? told + 2 * hidden : nullptr, desk);
      mlp(at, count, told ? told + 3 * hidden : nullptr, desk);
    });
  }

 private:
  void take_attention(const Stated& stated, const std::string& stack, const std::string& name) {
    heads.heads = int(stated.number(stack + ".heads")), heads.kv_heads = int(stated.number(stack + ".kv_heads"));
    heads.dim = int(stated.number(stack + ".head_dim")), heads.eps = 1e-6f;
    heads.check();
    if (stated.holds(name + ".q_norm.weight")) {
      heads.query_norm = stated.floats(name + ".q_norm.weight", heads.dim);
      heads.key_norm = stated.floats(name + ".k_norm.weight", heads.dim);
    }
    qkv.shape(hidden, heads.width());
    qkv.take(stated, name + ".q_proj", heads.query_width());
    qkv.take(stated, name + ".k_proj", heads.kv_width(), heads.query_width());
    qkv.take(stated, name + ".v_proj", heads.kv_width(), heads.query_width() + heads.kv_width());
    output = Linear::of(stated, name + ".o_proj", heads.query_width(), hidden);
  }

  uint16_t* normalised(const float* x, int rows, const std::vector<float>& norm, const float* shift, Desk& desk) const {
    size_t stride = row_stride(hidden);
    uint16_t* to = desk.narrow.room(kBlock * stride);
    for (int i = 0; i < rows; ++i) normalise(x + i * hidden, norm, hidden, eps, shift, to + i * stride);
    return to;
  }

  void add(const Linear& linear, const uint16_t* a, size_t row, int rows, float* x, const float* gate, Desk& desk) const {
    if (!gate) return linear.apply(a, row, rows, x, hidden, true);
    float* found = desk.gated.room(size_t(kBlock) * std::max(hidden, 2 * intermediate));
    linear.apply(a, row, rows, found, hidden);
    for (int i = 0; i < rows; ++i)
      for (int d = 0; d < hidden; d += kLanes) {
        float* at = x + i * hidden + d;
        store(at, load<Lanes>(at) + load<Lanes>(gate + d) * load<Lanes>(found + i * hidden + d));
      }
  }

  void mlp(float* x, int rows, const float* told, Desk& desk) const {
    uint16_t* normal = normalised(x, rows, second_norm, told, desk);
    size_t wide = 2 * size_t(intermediate), narrow = row_stride(intermediate);
    float* both = desk.gated.room(size_t(kBlock) * std::max(size_t(hidden), wide));
    uint16_t* inner = desk.inner.room(kBlock * narrow);
    gate_up.apply(normal, row_stride(hidden), rows, both, wide);
    for (int i = 0; i < rows; ++i)
      for (int d = 0; d < intermediate; d += kLanes) {
        Lanes gate = load<Lanes>(both + i * wide + d), up = load<Lanes>(both + i * wide + intermediate + d);
        store(inner + i * narrow + d, round_lanes(silu(gate) * up));
      }
    add(down, inner, narrow, rows, x, told ? told + 2 * hidden : nullptr, desk);
  }
};

// A layer of SigLIP's tower: every row sees every other.
struct Semantic {
  int hidden = 0, intermediate = 0;
  Heads heads;
  Linear qkv, output, first, second;
  std::vector<float> norms[2], shifts[2];

  static Semantic of(const Stated& stated, const std::string& name) {
    Semantic made;
    int hidden = made.hidden = stated.width("vision.hidden"), inner = stated.width("vision.intermediate");
    made.intermediate = inner;
    made.heads.heads = made.heads.kv_heads = int(stated.number("vision.heads"));
    made.heads.dim = hidden / made.heads.heads;
    made.heads.check();
    made.qkv.shape(hidden, 3 * hidden);
    const char* parts[] = {".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"};
    for (int i = 0; i < 3; ++i) made.qkv.take(stated, name + parts[i], hidden, i * hidden);
    made.output = Linear::of(stated, name + ".self_attn.out_proj", hidden, hidden);
    made.first = Linear::of(stated, name + ".mlp.fc1", hidden, inner);
    made.second = Linear::of(stated, name + ".mlp.fc2", inner, hidden);
    for (int i = 0; i < 2; ++i) {
      made.norms[i] = stated.floats(name + ".layer_norm" + std::to_string(i + 1) + ".weight", hidden);
      made.shifts[i] = stated.floats(name + ".layer_norm" + std::to_string(i + 1) + ".bias", hidden);
    }
    return made;
  }

  void pass(float* x, int rows, Cache& cache, Desk& desk) const {
    size_t width = size_t(qkv.tiles) * kLanes, narrow = row_stride(hidden);
    float* wide = desk.wide.room(rows * width + kLanes);
    uint16_t* mixed = desk.mixed.room(rows * narrow + kLanes);
    in_blocks(rows, [&](int at, int count) {
      qkv.apply(centred(x + at * hidden, count, 0, desk), narrow, count, wide + at * width, width);
    });
    cache.room(heads, rows);
    desk.attention.attend(heads, cache, {0, rows, 0, false, nullptr}, wide, width, mixed, narrow);
    in_blocks(rows, [&](int at, int count) {
      output.apply(mixed + at * narrow, narrow, count, x + at * hidden, hidden, true);
      uint16_t* normal = centred(x + at * hidden, count, 1, desk);
      float* found = desk.gated.room(size_t(kBlock) * intermediate);
      uint16_t* inner = desk.inner.room(kBlock * row_stride(intermediate));
      first.apply(normal, narrow, count, found, intermediate);
      each(found, intermediate, count, intermediate, inner, row_stride(intermediate), gelu_tanh);
      second.apply(inner, row_stride(intermediate), count, x + at * hidden, hidden, true);
    });
  }

 private:
  // Zero mean and unit deviation, weighted and shifted.
  uint16_t* centred(const float* x, int rows, int which, Desk& desk) const {
    size_t stride = row_stride(hidden);
    uint16_t* to = desk.narrow.room(kBlock * stride);
    for (int i = 0; i < rows; ++i, x += hidden) {
      Lanes sum{}, squares{};
      for (int d = 0; d < hidden; d += kLanes) sum += load<Lanes>(x + d);
      float mean = total(sum) / float(hidden);
      for (int d = 0; d < hidden; d += kLanes) squares += (load<Lanes>(x + d) - mean) * (load<Lanes>(x + d) - mean);
      float scale = 1.0f / std::sqrt(total(squares) / float(hidden) + 1e-6f);
      for (int d = 0; d < hidden; d += kLanes) {
        Lanes unit = (load<Lanes>(x + d) - mean) * scale;
        store(to + i * stride + d, round_lanes(unit * load<Lanes>(&norms[which][d]) + load<Lanes>(&shifts[which][d])));
      }
    }
    return to;
  }
};

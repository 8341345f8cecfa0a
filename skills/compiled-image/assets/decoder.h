// The decoder of latents: convolutions of planes whose channels lie together.
#pragma once
#include "attention.h"

struct Plane {  // [rows][columns][channels]
  int rows = 0, columns = 0, channels = 0;
  Block<float> data;

  float* shape(int r, int c, int n) {
    rows = r, columns = c, channels = n;
    return data.room(size_t(r) * c * n);
  }
  int places() const { return rows * columns; }
};

// Numbers rounded to bfloat16 within a border of zeros: a convolution's input.
struct Bordered {
  Block<uint16_t> data;
  int columns = 0, channels = 0;

  void shape(int rows, int c, int n) {
    columns = c, channels = n;
    uint16_t* at = data.room(size_t(rows + 2) * line() + kLanes);
    std::memset(at, 0, line() * sizeof *at);
    std::memset(at + (rows + 1) * line(), 0, line() * sizeof *at);
    for (int row = 1; row <= rows; ++row) {
      std::memset(at + row * line(), 0, n * sizeof *at);
      std::memset(at + (row + 1) * line() - n, 0, n * sizeof *at);
    }
  }
  size_t line() const { return size_t(columns + 2) * channels; }
  uint16_t* row(int y) const { return data.get() + (y + 1) * line() + channels; }
};

// Three by three, the border zero: each row of the kernel is one product over three places that lie side by side.
struct Convolution {
  Linear linear;
  int inward = 0, outward = 0;

  static Convolution of(const Stated& stated, const std::string& name, int in, int out) {
    Convolution made;
    made.inward = in, made.outward = out;
    made.linear.shape(3 * in, out, 3);
    const uint16_t* given = stated.tensor(name + ".weight", size_t(out) * in * 9);
    std::vector<uint16_t> turned(size_t(out) * in * 9);
    for (int o = 0; o < out; ++o)
      for (int i = 0; i < in; ++i)
        for (int tap = 0; tap < 9; ++tap) turned[(size_t(o) * 9 + tap) * in + i] = given[(size_t(o) * in + i) * 9 + tap];
    made.linear.pack(turned.data(), out, 0, stated.tensor(name + ".bias", out));
    return made;
  }

  // Rows of `to` have `stride` numbers for each place, at least 16 a tile of outputs.
  void apply(const Bordered& from, int rows, float* to, int stride, bool add) const {
    size_t tile = size_t(linear.taps) * linear.inputs / 2 * kLanes;
    for (int y = 0; y < rows; ++y)
      multiply({from.row(y - 1) - inward, size_t(inward), from.line(), linear.words.get(), tile, kLanes, linear.inputs / 2, 3,
                linear.bias.data(), to + size_t(y) * from.columns * stride, size_t(stride), add}, from.columns, linear.tiles);
  }
};

// A place's channels with unit root mean square, weighted; activated where that is asked for.
inline void normalise_channels(const float* from, int channels, const std::vector<float>& weight, bool active, uint16_t* to) {
  Lanes squares{};
  for (int d = 0; d < channels; d += kLanes) squares += load<Lanes>(from + d) * load<Lanes>(from + d);
  float scale = 1.0f / std::sqrt(std::max(total(squares) / float(channels), 1e-24f));
  for (int d = 0; d < channels; d += kLanes) {
    Lanes value = load<Lanes>(from + d) * scale * load<Lanes>(&weight[d]);
    store(to + d, round_lanes(active ? silu(value) : value));
  }
}

inline void normalise_into(const Plane& plane, const std::vector<float>& weight, Bordered& to) {
  to.shape(plane.rows, plane.columns, plane.channels);
  for (int y = 0; y < plane.rows; ++y)
    for (int x = 0; x < plane.columns; ++x)
      normalise_channels(plane.data.get() + (size_t(y) * plane.columns + x) * plane.channels, plane.channels, weight, true,
                         to.row(y) + size_t(x) * plane.channels);
}

struct Residual {
  Convolution first, second;
  Linear shortcut;
  std::vector<float> norms[2];

  static Residual of(const Stated& stated, const std::string& name, int in, int out) {
    Residual made;
    made.norms[0] = stated.floats(name + ".residual.0.gamma", in);
    made.norms[1] = stated.floats(name + ".residual.3.gamma", out);
    made.first = Convolution::of(stated, name + ".residual.2", in, out);
    made.second = Convolution::of(stated, name + ".residual.6", out, out);
    if (in != out) made.shortcut = Linear::of(stated, name + ".shortcut", in, out);
    return made;
  }
};

class Decoder {
 public:
  explicit Decoder(const Stated& stated) : channels_(stated.width("channels")) {
    int levels = 0;
    while (stated.numbers.count("vae.multiples." + std::to_string(levels))) ++levels;
    auto size = [&](int level) {  // from coarse to fine
      return stated.width("vae.width") * int(stated.number("vae.multiples." + std::to_string(levels - 1 - level)));
    };
    for (int c = 0; c < channels_; ++c) {
      mean_.push_back(float(stated.number("vae.mean." + std::to_string(c))));
      deviation_.push_back(float(stated.number("vae.deviation." + std::to_string(c))));
    }
    entry_ = Linear::of(stated, "conv2", channels_, channels_);
    first_ = Convolution::of(stated, "decoder.conv1", channels_, size(0));
    for (int i : {0, 2})
      blocks_.push_back(Residual::of(stated, "decoder.middle." + std::to_string(i), size(0), size(0)));
    take_attention(stated, size(0));
    take_levels(stated, levels, size);
    norm_ = stated.floats("decoder.head.0.gamma", size(levels - 1));
    head_ = Convolution::of(stated, "decoder.head.2", size(levels - 1), 3);
  }

  // Pixels [height][width][3] between 0 and 1 of a latent [channels][rows][columns].
  void paint(const float* latent, int rows, int columns, float* pixels) {
    enter(latent, rows, columns);
    pass(blocks_[0]);
    look();
    pass(blocks_[1]);
    size_t larger = 0;
    for (size_t i = 2; i < blocks_.size(); ++i) {
      pass(blocks_[i]);
      if (i - 1 == (larger + 1) * blocks_a_level_ && larger < larger_.size()) enlarge(larger_[larger++]);
    }
    normalise_into(plane_, norm_, bordered_);
    float* found = other_.shape(plane_.rows, plane_.columns, kLanes);
    head_.apply(bordered_, plane_.rows, found, kLanes, false);
    for (int place = 0; place < plane_.places(); ++place)
      for (int c = 0; c < 3; ++c)
        pixels[3 * place + c] = (std::min(1.0f, std::max(-1.0f, found[size_t(place) * kLanes + c])) + 1.0f) / 2.0f;
  }

 private:
  void take_attention(const Stated& stated, int channels) {
    heads_.heads = heads_.kv_heads = 1, heads_.dim = channels;
    heads_.check();
    look_norm_ = stated.floats("decoder.middle.1.norm.gamma", channels);
    qkv_ = Linear::of(stated, "decoder.middle.1.to_qkv", channels, 3 * channels);
    proj_ = Linear::of(stated, "decoder.middle.1.proj", channels, channels);
  }

  template <class Size>
  void take_levels(const Stated& stated, int levels, const Size& size) {
    blocks_a_level_ = size_t(stated.number("vae.blocks")) + 1;
    int index = 0, channels = size(0);
    auto name = [&] { return "decoder.upsamples." + std::to_string(index++); };
    for (int level = 0; level < levels; ++level) {
      for (size_t i = 0; i < blocks_a_level_; ++i, channels = size(level))
        blocks_.push_back(Residual::of(stated, name(), channels, size(level)));
      if (level == levels - 1) return;
      larger_.push_back(Convolution::of(stated, name() + ".resample.1", size(level), size(level) / 2));
      channels = size(level) / 2;
    }
  }

  void enter(const float* latent, int rows, int columns) {
    int places = rows * columns;
    size_t stride = row_stride(channels_);
    uint16_t* given = narrow_.room(places * stride + kLanes);
    std::vector<float> of_place(channels_);
    for (int place = 0; place < places; ++place) {
      for (int c = 0; c < channels_; ++c) of_place[c] = latent[size_t(c) * places + place] * deviation_[c] + mean_[c];
      for (int c = 0; c < channels_; c += kLanes) store(given + place * stride + c, round_lanes(load<Lanes>(&of_place[c])));
    }
    float* entered = plane_.shape(rows, columns, channels_);
    entry_.apply(given, stride, places, entered, channels_);
    round_into(plane_);
    first_.apply(bordered_, rows, plane_.shape(rows, columns, first_.outward), first_.outward, false);
  }

  void round_into(const Plane& plane) {
    bordered_.shape(plane.rows, plane.columns, plane.channels);
    size_t line = size_t(plane.columns) * plane.channels;
    for (int y = 0; y < plane.rows; ++y)
      for (size_t d = 0; d < line; d += kLanes)
        store(bordered_.row(y) + d, round_lanes(load<Lanes>(plane.data.get() + y * line + d)));
  }

  void pass(const Residual& block) {
    int rows = plane_.rows, columns = plane_.columns, outward = block.first.outward;
    normalise_into(plane_, block.norms[0], bordered_);
    block.first.apply(bordered_, rows, other_.shape(rows, columns, outward), outward, false);
    if (block.shortcut.inputs) shorten(block.shortcut);
    normalise_into(other_, block.norms[1], bordered_);
    block.second.apply(bordered_, rows, plane_.data.get(), outward, true);
  }

  void shorten(const Linear& shortcut) {
    size_t line = size_t(plane_.places()) * plane_.channels;
    uint16_t* given = narrow_.room(line);
    for (size_t d = 0; d < line; d += kLanes) store(given + d, round_lanes(load<Lanes>(plane_.data.get() + d)));
    float* to = plane_.shape(plane_.rows, plane_.columns, shortcut.outputs);
    shortcut.apply(given, shortcut.inputs, plane_.places(), to, shortcut.outputs);
  }

  // Attention of one head over all places.
  void look() {
    int channels = plane_.channels, places = plane_.places();
    size_t narrow = row_stride(channels), wide = size_t(qkv_.tiles) * kLanes;
    uint16_t *normal = narrow_.room(places * narrow), *mixed = mixed_.room(places * narrow);
    for (int place = 0; place < places; ++place)
      normalise_channels(plane_.data.get() + size_t(place) * channels, channels, look_norm_, false, normal + place * narrow);
    float* found = wide_.room(places * wide + kLanes);
    qkv_.apply(normal, narrow, places, found, wide);
    cache_.room(heads_, places);
    attention_.attend(heads_, cache_, {0, places, 0, false, nullptr}, found, wide, mixed, narrow);
    proj_.apply(mixed, narrow, places, plane_.data.get(), channels, true);
  }

  void enlarge(const Convolution& convolution) {
    int rows = plane_.rows, columns = plane_.columns, channels = plane_.channels;
    bordered_.shape(2 * rows, 2 * columns, channels);
    for (int y = 0; y < rows; ++y)
      for (int x = 0; x < columns; ++x)
        for (int d = 0; d < channels; d += kLanes) {
          Halves value = round_lanes(load<Lanes>(plane_.data.get() + (size_t(y) * columns + x) * channels + d));
          for (int corner = 0; corner < 4; ++corner)
            store(bordered_.row(2 * y + corner / 2) + size_t(2 * x + corner % 2) * channels + d, value);
        }
    int outward = convolution.outward;
    convolution.apply(bordered_, 2 * rows, plane_.shape(2 * rows, 2 * columns, outward), outward, false);
  }

  int channels_;
  size_t blocks_a_level_ = 0;
  std::vector<float> mean_, deviation_, look_norm_, norm_;
  Linear entry_, qkv_, proj_;
  Convolution first_, head_;
  std::vector<Residual> blocks_;
  std::vector<Convolution> larger_;
  Heads heads_;
  Cache cache_;
  Attention attention_;
  Plane plane_, other_;
  Bordered bordered_;
  Block<uint16_t> narrow_, mixed_;
  Block<float> wide_;
};

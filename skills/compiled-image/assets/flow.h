// The flow: words read once, and where a latent moves to at one time, with the words and without.
#pragma once
#include "layers.h"

constexpr int kBranches = 2;  // with the words, and without

// One image that is asked for; the same fields in the same order as `_Order` in painter.py.
struct Order {
  const int32_t* tokens[kBranches];  // what stands before the image
  int32_t lengths[kBranches];
  int32_t rows, columns, steps;      // of the latent
  float guidance;
  const float* lapses;               // [steps]: from one time to the next
  const float* latent;               // [channels][rows][columns]
  const float* positions;            // [patches][vision's hidden]
  const float* word_angles;          // [places][2][padded dim of a head]: cosines, and sines with their signs
  const float* head_angles;
  const float* shown;                // [steps][hidden]: the vector of the time's place
  const float* told;                 // [steps][layers of the head][6 hidden], then [steps][2 hidden] of the last layer
  float* pixels;                     // [height][width][3], between 0 and 1

  int places() const { return rows * columns; }
};

class Flow {
 public:
  explicit Flow(const Stated& stated) {
    channels_ = stated.width("channels"), patch_ = int(stated.number("patch"));
    hidden_ = stated.width("llm.hidden"), head_ = stated.width("head.hidden"), seen_ = stated.width("vision.hidden");
    read(stated, "llm", "showo.model.layers.", words_);
    read(stated, "head", "diffusion_head_a.", layers_);
    for (int i = 0; i < int(stated.number("vision.layers")); ++i)
      tower_.push_back(Semantic::of(stated, "und_trans.layers." + std::to_string(i)));
    int numbers = channels_ * patch_ * patch_, joined = seen_ + hidden_;
    vocabulary_ = int(stated.number("vocabulary"));
    const uint16_t* embedding = stated.tensor("showo.model.embed_tokens.weight", size_t(vocabulary_) * hidden_);
    embedding_.assign(embedding, embedding + size_t(vocabulary_) * hidden_);
    norm_ = stated.floats("showo.model.norm.weight", hidden_);
    eps_ = float(stated.number("llm.eps", 1e-6));
    patches_.shape(numbers, joined);
    patches_.take(stated, "image_embedder_und.proj", seen_);
    patches_.take(stated, "image_embedder_gen.proj", hidden_, seen_);
    fusion_norm_ = stated.floats("fusion_proj.0.weight", joined);
    fusion_[0] = Linear::of(stated, "fusion_proj.1", joined, hidden_);
    fusion_[1] = Linear::of(stated, "fusion_proj.3", hidden_, hidden_);
    if (hidden_ != head_) {
      between_[0] = Linear::of(stated, "diff_proj.0", hidden_, head_);
      between_[1] = Linear::of(stated, "diff_proj.2", head_, head_);
    }
    last_norm_ = stated.floats("diffusion_head_b.norm_final.weight", head_);
    last_ = Linear::of(stated, "diffusion_head_b.linear", head_, numbers);
    for (auto& caches : {&word_caches_, &head_caches_}) caches->resize(layers_.size() + words_.size());
  }

  // The latent [channels][places] at the end of all steps.
  void draw(const Order& order, float* latent) {
    std::memcpy(latent, order.latent, size_t(channels_) * order.places() * sizeof *latent);
    count_ = order.places() / (patch_ * patch_) + 1;
    give_room(order);
    read_words(order);
    for (int step = 0; step < order.steps; ++step) {
      look(order, latent, order.shown + size_t(step) * hidden_);
      const float* told = order.told + size_t(step) * layers_.size() * 6 * head_;
      through(order, spans(order, false), told);
      const float* last = order.told + (order.steps * layers_.size() * 6 + size_t(step) * 2) * head_;
      move(order, last, order.lapses[step], latent);
    }
  }

 private:
  using Caches = std::vector<std::vector<Cache>>;  // [layer][branch]

  static void read(const Stated& stated, const std::string& stack, const std::string& name, std::vector<Layer>& layers) {
    for (int i = 0; i < int(stated.number(stack + ".layers")); ++i)
      layers.push_back(Layer::of(stated, stack, name + std::to_string(i)));
  }

  void give_room(const Order& order) {
    auto room = [&](const std::vector<Layer>& layers, Caches& caches) {
      for (size_t i = 0; i < layers.size(); ++i) {
        caches[i].resize(kBranches);
        for (int branch = 0; branch < kBranches; ++branch)
          caches[i][branch].room(layers[i].heads, order.lengths[branch] + count_);
      }
    };
    room(words_, word_caches_), room(layers_, head_caches_);
    int rows = std::max(order.lengths[0] + order.lengths[1], kBranches * count_);
    x_.room(size_t(rows) * hidden_), y_.room(size_t(rows) * head_);
  }

  std::vector<Span> spans(const Order& order, bool words) const {
    int first[] = {0, words ? order.lengths[0] : count_};
    std::vector<Span> found;
    for (int branch = 0; branch < kBranches; ++branch)
      found.push_back(words ? Span{first[branch], order.lengths[branch], 0, true, nullptr}
                            : Span{first[branch], count_, order.lengths[branch], false, nullptr});
    return found;
  }

  // The words see what came before them and are not modulated: their keys and values hold for all steps.
  void read_words(const Order& order) {
    int row = 0;
    for (int branch = 0; branch < kBranches; ++branch)
      for (int i = 0; i < order.lengths[branch]; ++i, ++row)
        for (int d = 0; d < hidden_; d += kLanes)
          store(x_.get() + size_t(row) * hidden_ + d,
                widen_lanes(&embedding_[size_t(order.tokens[branch][i]) * hidden_ + d]));
    through(order, spans(order, true), nullptr);
  }

  // Rows of x through the language model, and through the head's layers in y.
  void through(const Order& order, std::vector<Span> spans, const float* told) {
    int rows = spans[0].length + spans[1].length;
    for (Span& span : spans) span.angles = order.word_angles;
    for (size_t i = 0; i < words_.size(); ++i)
      words_[i].pass(x_.get(), rows, spans, word_caches_[i].data(), nullptr, desk_);
    cross(rows);
    for (Span& span : spans) span.angles = order.head_angles;
    for (size_t i = 0; i < layers_.size(); ++i)
      layers_[i].pass(y_.get(), rows, spans, head_caches_[i].data(), told ? told + i * 6 * head_ : nullptr, desk_);
  }

  void cross(int rows) {
    size_t narrow = row_stride(hidden_), inner = row_stride(head_);
    in_blocks(rows, [&](int first, int count) {
      uint16_t* normal = desk_.narrow.room(kBlock * narrow);
      for (int i = 0; i < count; ++i)
        normalise(x_.get() + size_t(first + i) * hidden_, norm_, hidden_, eps_, nullptr, normal + i * narrow);
      float* to = y_.get() + size_t(first) * head_;
      if (hidden_ == head_) {
        for (int i = 0; i < count; ++i)
          for (int d = 0; d < head_; d += kLanes) store(to + i * head_ + d, widen_lanes(normal + i * narrow + d));
        return;
      }
      uint16_t* bent = desk_.inner.room(kBlock * inner);
      between_[0].apply(normal, narrow, count, to, head_);
      each(to, head_, count, head_, bent, inner, gelu);
      between_[1].apply(bent, inner, count, to, head_);
    });
  }

  // The time's place and the patches of a latent, as both branches see them.
  void look(const Order& order, const float* latent, const float* shown) {
    int patches = count_ - 1, joined = seen_ + hidden_;
    float* both = joined_.room(size_t(patches) * patches_.tiles * kLanes);
    float* meant = meant_.room(size_t(patches) * seen_);
    cut(order, latent);
    patches_.apply(cut_.get(), row_stride(patches_.inputs), patches, both, joined);
    for (int i = 0; i < patches; ++i)
      for (int d = 0; d < seen_; d += kLanes)
        store(meant + i * seen_ + d, load<Lanes>(both + i * joined + d) + load<Lanes>(order.positions + i * seen_ + d));
    for (const Semantic& layer : tower_) layer.pass(meant, patches, tower_cache_, desk_);
    for (int i = 0; i < patches; ++i) std::memcpy(both + i * joined, meant + i * seen_, seen_ * sizeof *meant);
    std::memcpy(x_.get(), shown, hidden_ * sizeof *shown);
    in_blocks(patches, [&](int first, int count) { fuse(both + first * joined, count, x_.get() + (first + 1) * hidden_); });
    std::memcpy(x_.get() + count_ * hidden_, x_.get(), size_t(count_) * hidden_ * sizeof(float));
  }

  // Patches as rows of channels, then rows and columns of a patch.
  void cut(const Order& order, const float* latent) {
    size_t stride = row_stride(patches_.inputs);
    uint16_t* to = cut_.room((count_ - 1) * stride + kLanes);
    std::vector<float> row(patches_.inputs);
    int across = order.columns / patch_;
    for (int i = 0; i < count_ - 1; ++i, to += stride) {
      const float* corner = latent + i / across * patch_ * order.columns + i % across * patch_;
      for (int n = 0, c = 0; c < channels_; ++c)
        for (int y = 0; y < patch_; ++y)
          for (int x = 0; x < patch_; ++x) row[n++] = corner[size_t(c) * order.places() + y * order.columns + x];
      for (int n = 0; n < patches_.inputs; n += kLanes) store(to + n, round_lanes(load<Lanes>(&row[n])));
    }
  }

  void fuse(const float* joined, int rows, float* to) {
    int width = seen_ + hidden_;
    size_t narrow = row_stride(width), inner = row_stride(hidden_);
    uint16_t *normal = desk_.narrow.room(kBlock * narrow), *bent = desk_.inner.room(kBlock * inner);
    for (int i = 0; i < rows; ++i)
      normalise(joined + i * width, fusion_norm_, width, 1e-6f, nullptr, normal + i * narrow);
    fusion_[0].apply(normal, narrow, rows, to, hidden_);
    each(to, hidden_, rows, hidden_, bent, inner, gelu);
    fusion_[1].apply(bent, inner, rows, to, hidden_);
  }

  // The latent moves by the guided velocity; what a patch says is laid down in rows of channels, one after the other.
  void move(const Order& order, const float* told, float lapse, float* latent) {
    int patches = count_ - 1, numbers = last_.inputs ? last_.outputs : 0;
    size_t narrow = row_stride(head_), wide = size_t(last_.tiles) * kLanes;
    float* found = found_.room(size_t(kBranches) * patches * wide);
    for (int branch = 0; branch < kBranches; ++branch)
      in_blocks(patches, [&](int first, int count) {
        uint16_t* normal = desk_.narrow.room(kBlock * narrow);
        const float* y = y_.get() + (branch * count_ + 1 + first) * size_t(head_);
        for (int i = 0; i < count; ++i) normalise(y + i * head_, last_norm_, head_, 1e-6f, told, normal + i * narrow);
        last_.apply(normal, narrow, count, found + (size_t(branch) * patches + first) * wide, wide);
      });
    const float *with = found, *without = found + size_t(patches) * wide;
    for (int i = 0, flat = 0; i < patches; ++i)
      for (int n = 0; n < numbers; ++n, ++flat) {
        float plain = without[i * wide + n], guided = plain + order.guidance * (with[i * wide + n] - plain);
        latent[size_t(flat % channels_) * order.places() + flat / channels_] += lapse * guided;
      }
  }

  int channels_, patch_, hidden_, head_, seen_, vocabulary_, count_ = 0;
  float eps_;
  std::vector<Layer> words_, layers_;
  std::vector<Semantic> tower_;
  std::vector<uint16_t> embedding_;
  std::vector<float> norm_, fusion_norm_, last_norm_;
  Linear patches_, fusion_[2], between_[2], last_;
  Caches word_caches_, head_caches_;
  Cache tower_cache_;
  Desk desk_;
  Block<uint16_t> cut_;
  Block<float> x_, y_, joined_, meant_, found_;
};

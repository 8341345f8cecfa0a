// One ragged step of a Llama or a Qwen3 on the CPU: bfloat16 weights and matrix inputs, every sum and the residual in float.
#include "attention.h"
#include "pool.h"

class Model {
 public:
  explicit Model(const Shape& shape)
      : shape_(shape), attention_(shape), layers_(shape.layers), wide_(shape.threads), pool_(shape.threads) {
    plan_weights();
  }

  // Tensors in the order q, k, v, o, gate, up, down, input norm, post-attention norm, and query and key norm or null.
  void load_layer(int index, const uint16_t* const* tensors) {
    Layer& layer = layers_[index];
    size_t dim = shape_.head_dim, share = shape_.group() * dim, tiles = dim / kLanes;
    for (int head = 0; head < shape_.kv_heads; ++head) {
      int first = head * shape_.head_block() / kLanes;
      layer.qkv.pack(tensors[0] + head * share * shape_.hidden, share, first, 1);
      layer.qkv.pack(tensors[1] + head * dim * shape_.hidden, dim, first + shape_.group() * tiles, 1);
      layer.qkv.pack(tensors[2] + head * dim * shape_.hidden, dim, first + (shape_.group() + 1) * tiles, 1);
    }
    layer.output.pack(tensors[3], shape_.hidden, 0, 1);
    layer.gate_up.pack(tensors[4], shape_.intermediate, 0, 2);
    layer.gate_up.pack(tensors[5], shape_.intermediate, 1, 2);
    layer.down.pack(tensors[6], shape_.hidden, 0, 1);
    layer.attention_norm.assign(tensors[7], tensors[7] + shape_.hidden);
    layer.mlp_norm.assign(tensors[8], tensors[8] + shape_.hidden);
    if (tensors[9]) layer.query_norm.assign(tensors[9], tensors[9] + dim);
    if (tensors[10]) layer.key_norm.assign(tensors[10], tensors[10] + dim);
  }

  void load_ends(const uint16_t* embedding, const uint16_t* norm, const uint16_t* head) {
    embedding_.assign(embedding, embedding + size_t(shape_.vocabulary) * shape_.hidden);
    final_norm_.assign(norm, norm + shape_.hidden);
    head_.pack(head, shape_.vocabulary, 0, 1);
  }

  // Logits of the rows listed in `wanted`, with room for whole tiles in each row of `logits`.
  void step(const std::vector<Chunk>& chunks, const int32_t* tokens, int rows, const int32_t* wanted, int wanted_rows,
            float* logits) {
    reserve(rows);
    embed(tokens, rows);
    foresee(0, chunks);
    for (int i = 0; i < shape_.layers; ++i) {
      const Layer& layer = layers_[i];
      normalise(rows, nullptr, layer.attention_norm);
      attend(i, chunks, rows);
      project(layer.output, attended(), rows, residual());
      normalise(rows, nullptr, layer.mlp_norm);
      foresee(i + 1, chunks);
      gate(layer.gate_up, rows);
      project(layer.down, gated(), rows, residual());
    }
    normalise(wanted_rows, wanted, final_norm_);
    project(head_, normed(), wanted_rows, {logits, size_t(head_.tiles) * kLanes, false});
    pool_.rest();
  }

  void copy_prefix(int source, int target, int length) {
    const Cache& cache = attention_.cache();
    for (int layer = 0; layer < shape_.layers; ++layer)
      for (int head = 0; head < shape_.kv_heads; ++head)
        cache.head(layer, target, head).copy_from(cache.head(layer, source, head), length);
  }

 private:
  // One block for all weights, in the order of their use.
  void plan_weights() {
    std::vector<Matrix*> order;
    auto plan = [&](Matrix& matrix, int outputs, int inputs) {
      matrix.tiles = (outputs + kLanes - 1) / kLanes;
      matrix.pairs = inputs / 2;
      order.push_back(&matrix);
    };
    for (Layer& layer : layers_) {
      plan(layer.qkv, shape_.qkv_width(), shape_.hidden);
      plan(layer.output, shape_.hidden, shape_.query_width());
      plan(layer.gate_up, 2 * shape_.intermediate, shape_.hidden);
      plan(layer.down, shape_.hidden, shape_.intermediate);
    }
    plan(head_, shape_.vocabulary, shape_.hidden);
    size_t words = 0, passes = 0;
    for (Matrix* matrix : order) {
      words += matrix->words();
      passes = std::max(passes, size_t(matrix->tiles) * pages_in_pass(matrix->pairs));
    }
    idle_pages_.assign(passes, idle_);
    weights_ = Block<uint32_t>(words);
    uint32_t* next = weights_.get();
    for (Matrix* matrix : order) {
      matrix->data = next;
      next += matrix->words();
    }
  }

  void reserve(int rows) {
    if (rows <= reserved_) return;
    reserved_ = rows;
    x_ = Block<float>(size_t(rows) * shape_.hidden);
    normed_ = Block<uint16_t>(rows * row_stride(shape_.hidden));
    attended_ = Block<uint16_t>(rows * row_stride(shape_.query_width()));
    gated_ = Block<uint16_t>(rows * row_stride(shape_.intermediate));
    size_t wide = std::max(size_t(rows) * shape_.head_block(), size_t(kMaxRows) * 2 * shape_.intermediate);
    for (auto& own : wide_) own = Block<float>(wide);
  }

  Output residual() { return {x_.get(), size_t(shape_.hidden), true}; }
  Rows normed() const { return {normed_.get(), row_stride(shape_.hidden)}; }
  Rows attended() const { return {attended_.get(), row_stride(shape_.query_width())}; }
  Rows gated() const { return {gated_.get(), row_stride(shape_.intermediate)}; }

  void embed(const int32_t* tokens, int rows) {
    for (int row = 0; row < rows; ++row)
      for (int d = 0; d < shape_.hidden; d += kLanes)
        store(x_.get() + size_t(row) * shape_.hidden + d, widen(&embedding_[size_t(tokens[row]) * shape_.hidden + d]));
  }

  // RMSNorm of `rows` rows of x, those that `chosen` lists where it is given.
  void normalise(int rows, const int32_t* chosen, const std::vector<uint16_t>& weight) {
    pool_.run((rows + kMaxRows - 1) / kMaxRows, [&](int piece, int) {
      for (int row = piece * kMaxRows; row < std::min(rows, (piece + 1) * kMaxRows); ++row)
        normalise_row(x_.get() + size_t(chosen ? chosen[row] : row) * shape_.hidden, weight.data(),
                      normed_.get() + row * row_stride(shape_.hidden));
    });
  }

  void normalise_row(const float* x, const uint16_t* weight, uint16_t* to) const {
    for (int d = 0; d < shape_.hidden; d += kLanes) __builtin_prefetch(to + d, 1);
    float scale = norm_scale(x, shape_.hidden, shape_.epsilon);
    for (int d = 0; d < shape_.hidden; d += kLanes)
      store(to + d, round_lanes(load<Lanes>(x + d) * scale * widen(weight + d)));
  }

  // Pieces of some microseconds each, a few for each thread: smaller ones cost more to share than they save.
  int pieces(const Matrix& matrix, int rows) const {
    double microseconds = double(matrix.words()) * 4 / 30e3 + double(matrix.words()) * 2 * rows / 110e3;
    return std::max(1, std::min({int(microseconds / 4), 4 * pool_.size(), matrix.tiles / 2}));
  }

  // Calls work(first tile, tiles, first row, rows, thread) for all tiles (an even number each) and blocks of rows.
  template <class Work>
  void share(const Matrix& matrix, int rows, const Work& work) {
    int count = pieces(matrix, rows), doubles = matrix.tiles / 2;
    int blocks = (rows + kMaxRows - 1) / kMaxRows;
    pool_.run(count, [&](int piece, int thread) {
      int first = doubles * piece / count * 2;
      int last = piece + 1 == count ? matrix.tiles : doubles * (piece + 1) / count * 2;
      for (int block = 0; block < blocks; ++block) {
        int row = rows * block / blocks;
        work(first, last - first, row, rows * (block + 1) / blocks - row, thread);
      }
    });
  }

  void project(const Matrix& matrix, Rows a, int rows, Output out) {
    share(matrix, rows, [&](int tile, int tiles, int row, int count, int) {
      multiply(a.from(row), count, matrix.view().from(tile), tiles, matrix.pairs, out.from(row, tile),
               idle_pages_.data());
    });
  }

  // SwiGLU: silu(gate) * up, tile by tile as the two lie side by side.
  void gate(const Matrix& matrix, int rows) {
    share(matrix, rows, [&](int tile, int tiles, int row, int count, int thread) {
      Output wide{wide_[thread].get(), size_t(tiles) * kLanes, false};
      const char* const* soon = row ? idle_pages_.data() : soon_.data() + pages_before(matrix, tile, count);
      multiply(normed().from(row), count, matrix.view().from(tile), tiles, matrix.pairs, wide, soon);
      for (int i = 0; i < count; ++i) activate(wide.from(i, 0).data, tiles, row + i, tile / 2);
    });
  }

  void activate(const float* wide, int tiles, int row, int to_tile) {
    uint16_t* to = gated_.get() + row * row_stride(shape_.intermediate) + to_tile * kLanes;
    for (int t = 0; t < tiles; t += 2) {
      Lanes gate = load<Lanes>(wide + t * kLanes), up = load<Lanes>(wide + (t + 1) * kLanes);
      store(to + t / 2 * kLanes, round_lanes(gate / (exponential(-gate) + 1.0f) * up));
    }
  }

  // A key head at a time: its queries, keys and values stay in the memory of the thread that attends with them.
  void attend(int index, const std::vector<Chunk>& chunks, int rows) {
    const Matrix& matrix = layers_[index].qkv;
    int width = shape_.head_block(), tiles = width / kLanes, blocks = (rows + kMaxRows - 1) / kMaxRows;
    pool_.run(shape_.kv_heads, [&](int head, int thread) {
      Output qkv{wide_[thread].get(), size_t(width), false};
      for (int block = 0; block < blocks; ++block) {
        int row = rows * block / blocks, count = rows * (block + 1) / blocks - row;
        multiply(normed().from(row), count, matrix.view().from(head * tiles), tiles, matrix.pairs, qkv.from(row, 0),
                 idle_pages_.data());
      }
      for (const Chunk& chunk : chunks)
        attention_.attend(chunk, index, layers_[index], head, qkv.data, attended_.get(), thread);
    });
  }

  // Lists the caches that the attention of `layer` reads, for the products before it to ask for.
  void foresee(int layer, const std::vector<Chunk>& chunks) {
    soon_.clear();
    if (layer < shape_.layers)
      for (int head = 0; head < shape_.kv_heads; ++head)
        for (const Chunk& chunk : chunks)
          attention_.cache().head(layer, chunk.slot, head).list_pages(chunk.start + 1, soon_);
    soon_.resize(std::max(soon_.size(), idle_pages_.size()), idle_);
  }

  static size_t pages_before(const Matrix& matrix, int tile, int rows) {
    return size_t(tile / tiles_at_once(rows, matrix.tiles)) * pages_in_pass(matrix.pairs);
  }

  Shape shape_;
  Attention attention_;
  Block<uint32_t> weights_;
  std::vector<Layer> layers_;
  Matrix head_;
  std::vector<uint16_t> embedding_, final_norm_;
  int reserved_ = 0;
  Block<float> x_;
  Block<uint16_t> normed_, attended_, gated_;
  std::vector<Block<float>> wide_;  // one per thread
  char idle_[kPage];                      // a page that is always near
  std::vector<const char*> soon_, idle_pages_;
  Pool pool_;
};

extern "C" {

Model* model_create(const Shape* shape) { return new Model(*shape); }

void model_destroy(Model* model) { delete model; }

void model_load_layer(Model* model, int32_t layer, const uint16_t* const* tensors) {
  model->load_layer(layer, tensors);
}

void model_load_ends(Model* model, const uint16_t* embedding, const uint16_t* norm, const uint16_t* head) {
  model->load_ends(embedding, norm, head);
}

// `layout` holds slot, start and length of each chunk; `tokens` their tokens one after the other.
void model_step(Model* model, const int32_t* layout, int32_t chunks, const int32_t* tokens, const int32_t* wanted,
                int32_t wanted_rows, float* logits) {
  std::vector<Chunk> ragged(chunks);
  int rows = 0;
  for (int i = 0; i < chunks; ++i) {
    ragged[i] = {layout[3 * i], layout[3 * i + 1], rows, layout[3 * i + 2]};
    rows += layout[3 * i + 2];
  }
  model->step(ragged, tokens, rows, wanted, wanted_rows, logits);
}

void model_copy_prefix(Model* model, int32_t source, int32_t target, int32_t length) {
  model->copy_prefix(source, target, length);
}
}

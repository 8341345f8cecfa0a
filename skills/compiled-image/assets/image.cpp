// One image on the CPU: bfloat16 weights and inputs of products, every sum and all that lies between in float.
#include "decoder.h"
#include "flow.h"

struct Painter {
  Stated stated;  // emptied when the model is made: the tensors are the caller's
  std::unique_ptr<Flow> flow;
  std::unique_ptr<Decoder> decoder;
  Block<float> latent;
  std::string fault;
};

extern "C" {

Painter* painter_create() { return new Painter; }

void painter_destroy(Painter* painter) { delete painter; }

void painter_number(Painter* painter, const char* name, double value) { painter->stated.numbers[name] = value; }

void painter_tensor(Painter* painter, const char* name, const uint16_t* data, int64_t count) {
  painter->stated.tensors[name] = {data, size_t(count)};
}

// Packs what was given; null, or what is wrong with it in words that live as long as the painter.
const char* painter_make(Painter* painter) {
  try {
    painter->flow = std::make_unique<Flow>(painter->stated);
    painter->decoder = std::make_unique<Decoder>(painter->stated);
    painter->stated = {};
    return nullptr;
  } catch (const std::invalid_argument& fault) {
    painter->fault = fault.what();
    return painter->fault.c_str();
  }
}

void painter_paint(Painter* painter, const Order* order, int32_t channels) {
  float* latent = painter->latent.room(size_t(channels) * order->places());
  painter->flow->draw(*order, latent);
  painter->decoder->paint(latent, order->rows, order->columns, order->pixels);
}
}

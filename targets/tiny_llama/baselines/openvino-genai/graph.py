"""A Llama folder as a stateful OpenVINO model: built from its weights as they are, 16-bit weights stay 16-bit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset13 as op
from safetensors import safe_open

INPUTS = {"input_ids": ov.Type.i64, "attention_mask": ov.Type.i64, "position_ids": ov.Type.i64, "beam_idx": ov.Type.i32}
END = 2**62

Node = Any


def build(folder: Path) -> ov.Model:
    """Return the model of config.json and model*.safetensors; ValueError when it is not a plain Llama."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rope = config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 10000.0)}
    unknown = [name for name in ("attention_bias", "mlp_bias") if config.get(name)]
    if config["model_type"] != "llama" or rope.get("rope_type", "default") != "default" or unknown:
        raise ValueError(f"only a plain Llama is converted, not {config['model_type']} with {unknown or rope}")
    return _Llama(config, rope["rope_theta"], _tensors(folder)).build()


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return tensors


class _Llama:
    """Builds the graph; shapes are [batch, heads, positions, head_dim] inside attention."""

    def __init__(self, config: dict[str, Any], theta: float, tensors: dict[str, torch.Tensor]) -> None:
        self._tensors = tensors
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._kv_heads: int = config.get("num_key_value_heads") or self._heads
        self._dim: int = config.get("head_dim") or config["hidden_size"] // self._heads
        self._epsilon: float = config["rms_norm_eps"]
        self._tied: bool = config["tie_word_embeddings"]
        self._theta = theta
        self._sinks: list[Node] = []

    def build(self) -> ov.Model:
        """Return the whole model, with the KV cache as its state."""
        inputs = {name: _input(name, kind) for name, kind in INPUTS.items()}
        ids, self._beam = inputs["input_ids"], inputs["beam_idx"]
        self._batch = op.gather(op.shape_of(ids), _ints(0), _int(0))
        self._cos, self._sin = self._rotation(inputs["position_ids"])
        self._mask = _causal_mask(ids, inputs["attention_mask"])
        hidden = op.gather(self._weight("model.embed_tokens"), op.convert(ids, "i32"), _int(0))
        for layer in range(self._layers):
            prefix = f"model.layers.{layer}."
            normed = self._norm(hidden, prefix + "input_layernorm")
            hidden = op.add(hidden, self._attention(normed, layer))
            normed = self._norm(hidden, prefix + "post_attention_layernorm")
            hidden = op.add(hidden, self._feed_forward(normed, prefix + "mlp."))
        head = "model.embed_tokens" if self._tied else "lm_head"
        logits = self._linear(self._norm(hidden, "model.norm"), head)
        logits.output(0).set_names({"logits"})
        return ov.Model([op.result(logits)], self._sinks, list(inputs.values()), "llama")

    def _weight(self, name: str) -> Node:
        tensor = self._tensors[name + ".weight"].contiguous()
        if tensor.dtype != torch.bfloat16:
            return op.convert(op.constant(tensor.numpy()), "f32")
        # NumPy has no bfloat16: the bits travel as int16.
        raw = ov.Tensor(ov.Type.bf16, ov.Shape(list(tensor.shape)))
        np.copyto(raw.data.view(np.int16), tensor.view(torch.int16).numpy())
        return op.convert(op.constant(raw), "f32")

    def _linear(self, x: Node, name: str) -> Node:
        return op.matmul(x, self._weight(name), False, True)

    def _norm(self, x: Node, name: str) -> Node:
        mean = op.reduce_mean(op.power(x, _floats(2.0)), _ints(-1), True)
        scale = op.divide(_floats(1.0), op.sqrt(op.add(mean, _floats(self._epsilon))))
        return op.multiply(op.multiply(x, scale), self._weight(name))

    def _feed_forward(self, x: Node, prefix: str) -> Node:
        gate = op.swish(self._linear(x, prefix + "gate_proj"))
        return self._linear(op.multiply(gate, self._linear(x, prefix + "up_proj")), prefix + "down_proj")

    def _attention(self, x: Node, layer: int) -> Node:
        prefix = f"model.layers.{layer}.self_attn."
        query = self._rotated(self._split(self._linear(x, prefix + "q_proj"), self._heads))
        key = self._rotated(self._split(self._linear(x, prefix + "k_proj"), self._kv_heads))
        value = self._split(self._linear(x, prefix + "v_proj"), self._kv_heads)
        keys, values = self._cached(key, f"key.{layer}"), self._cached(value, f"value.{layer}")
        mixed = op.scaled_dot_product_attention(query, keys, values, self._mask)
        joined = op.reshape(op.transpose(mixed, _ints(0, 2, 1, 3)), _ints(0, 0, self._heads * self._dim), True)
        return self._linear(joined, prefix + "o_proj")

    def _split(self, x: Node, heads: int) -> Node:
        return op.transpose(op.reshape(x, _ints(0, 0, heads, self._dim), True), _ints(0, 2, 1, 3))

    def _rotation(self, positions: Node) -> tuple[Node, Node]:
        frequencies = self._theta ** -(np.arange(0, self._dim, 2, dtype=np.float64) / self._dim)
        row = op.constant(frequencies.astype(np.float32)[None, None])
        angles = op.multiply(op.unsqueeze(op.convert(positions, "f32"), _ints(-1)), row)
        both = op.unsqueeze(op.concat([angles, angles], -1), _ints(1))
        return op.cos(both), op.sin(both)

    def _rotated(self, x: Node) -> Node:
        half = _ints(self._dim // 2)
        low = op.slice(x, _ints(0), half, _ints(1), _ints(3))
        high = op.slice(x, half, _ints(END), _ints(1), _ints(3))
        turned = op.concat([op.multiply(high, _floats(-1.0)), low], -1)
        return op.add(op.multiply(x, self._cos), op.multiply(turned, self._sin))

    def _cached(self, x: Node, name: str) -> Node:
        """Append to the state of that name and return all of it, repeated for the query heads of each group."""
        heads, dim = self._kv_heads, self._dim
        empty = op.broadcast(_floats(0.0), op.concat([self._batch, _ints(heads, 0, dim)], 0), "BIDIRECTIONAL")
        past = op.read_value(empty, name, ov.Type.f32, ov.PartialShape([-1, heads, -1, dim]))
        every = op.concat([op.gather(past, self._beam, _int(0)), x], 2)
        self._sinks.append(op.assign(every, name))
        group = self._heads // heads
        if group == 1:
            return every
        shape = op.concat([self._batch, _ints(heads, group, 1, dim)], 0)
        repeated = op.broadcast(op.unsqueeze(every, _ints(2)), shape, "BIDIRECTIONAL")
        return op.reshape(repeated, _ints(0, self._heads, -1, dim), True)


def _causal_mask(ids: Node, attention: Node) -> Node:
    """Return 0 where position i of `ids` may look at j, and -3e38 elsewhere; the paged pipeline replaces it."""
    new, every = (op.gather(op.shape_of(node), _int(1), _int(0)) for node in (ids, attention))
    rows = op.unsqueeze(op.range(op.subtract(every, new), every, _int(1), "i64"), _ints(1))
    columns = op.unsqueeze(op.range(_int(0), every, _int(1), "i64"), _ints(0))
    past = op.unsqueeze(op.less_equal(columns, rows), _ints(0, 1))
    seen = op.logical_and(past, op.convert(op.unsqueeze(attention, _ints(1, 2)), "boolean"))
    return op.select(seen, _floats(0.0), _floats(-3e38))


def _input(name: str, kind: ov.Type) -> Node:
    node = op.parameter([-1] if name == "beam_idx" else [-1, -1], kind)
    node.output(0).set_names({name})
    # The conversion to paged attention looks for the node's own name, not the tensor's.
    node.set_friendly_name(name)
    return node


def _int(value: int) -> Node:
    return op.constant(np.int64(value))


def _ints(*values: int) -> Node:
    return op.constant(np.array(values, dtype=np.int64))


def _floats(*values: float) -> Node:
    return op.constant(np.array(values, dtype=np.float32))

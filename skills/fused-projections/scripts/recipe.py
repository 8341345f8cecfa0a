"""Fuse query, key and value, and gate and up, and pack the weights once for the matrix kernels."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

MODEL = {
    "from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu\n": (
        "from torch.nn.functional import embedding, scaled_dot_product_attention, silu\n"
    ),
    "class Layer:\n": '''class Packed:
    """A weight matrix [outputs, inputs] in the layout of the bfloat16 kernels of oneDNN; the numbers are unchanged."""

    def __init__(self, *weights: torch.Tensor) -> None:
        """Stack the matrices over their outputs, and pack them for about `PACKED_ROWS` rows a call."""
        self._weight = torch.ops.mkldnn._reorder_linear_weight(torch.cat(weights), PACKED_ROWS)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the products of the rows with each output."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._weight, None, "none", [], "")
        return product


class Layer:
''',
    "Logits = NDArray[np.float32]\n": "Logits = NDArray[np.float32]\n\nPACKED_ROWS = 16\n",
    """        self.query = weights[f"{name}.self_attn.q_proj.weight"]
        self.key = weights[f"{name}.self_attn.k_proj.weight"]
        self.value = weights[f"{name}.self_attn.v_proj.weight"]
        self.output = weights[f"{name}.self_attn.o_proj.weight"]
""": """        inputs = [weights[f"{name}.self_attn.{part}_proj.weight"] for part in "qkv"]
        self.sizes = [len(one) for one in inputs]
        self.inputs = Packed(*inputs)
        self.output = Packed(weights[f"{name}.self_attn.o_proj.weight"])
""",
    """        self.gate = weights[f"{name}.mlp.gate_proj.weight"]
        self.up = weights[f"{name}.mlp.up_proj.weight"]
        self.down = weights[f"{name}.mlp.down_proj.weight"]
""": """        self.gate_up = Packed(weights[f"{name}.mlp.gate_proj.weight"], weights[f"{name}.mlp.up_proj.weight"])
        self.down = Packed(weights[f"{name}.mlp.down_proj.weight"])
""",
    "        return linear(hidden, self.query), linear(hidden, self.key), linear(hidden, self.value)\n": (
        "        query, key, value = torch.split(self.inputs(hidden), self.sizes, dim=-1)\n"
        "        return query, key, value\n"
    ),
    "        return linear(rows, self.output)\n": "        return self.output(rows)\n",
    "        return linear(silu(linear(hidden, self.gate)) * linear(hidden, self.up), self.down)\n": (
        "        gate, up = self.gate_up(hidden).chunk(2, dim=-1)\n        return self.down(silu(gate) * up)\n"
    ),
    """        self._head = weights["lm_head.weight"]
""": """        self._head = Packed(weights["lm_head.weight"])
""",
    "        return linear(hidden, self._head)\n": "        return self._head(hidden)\n",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"fused-projections: {reason}", file=sys.stderr)
    sys.exit(3)


def edited(path: Path, changes: dict[str, str]) -> str:
    """Return the text of a file with each piece replaced; every piece must be there exactly once."""
    if not path.is_file():
        refuse(f"there is no {path.name}")
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        if text.count(old) != 1:
            refuse(f"{path.name} does not hold exactly once: {old.strip().splitlines()[0]}")
        text = text.replace(old, new)
    return text


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    path = parser.parse_args().workspace / "model.py"
    if "import torch\n" not in edited(path, {}):
        refuse("model.py is not the torch model")
    path.write_text(edited(path, MODEL), encoding="utf-8")
    print("model.py: one product for query, key and value, one for gate and up, all weights packed once")


if __name__ == "__main__":
    main()

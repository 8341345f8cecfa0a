"""The gated delta rule with a short convolution before it, over one state of fixed size for each slot."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import conv1d, linear, silu, softplus
from transformers.models.olmo_hybrid.modeling_olmo_hybrid import torch_chunk_gated_delta_rule

from pages import Place

NORM_EPSILON = 1e-5
UNIT_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class State:
    """What a layer knows of a text: the last inputs of its convolution, and its matrix for each head."""

    inputs: torch.Tensor
    matrices: torch.Tensor


def normed(rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Root mean square normalisation of each row."""
    wide = rows.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    return (weight * (wide * scale)).to(rows.dtype)


class DeltaLayer:
    """One linear-attention layer of OLMo Hybrid; `inputs` [slots, channels, width - 1], `matrices` in float32."""

    def __init__(self, weights: dict[str, torch.Tensor], name: str, config: dict[str, int], slots: int) -> None:
        """Pick the tensors of layer `name`, and take room for the states."""
        self._heads = config["linear_num_value_heads"]
        self._sizes = config["linear_key_head_dim"], config["linear_value_head_dim"]
        keys, values = (self._heads * size for size in self._sizes)
        self._parts = [keys, keys, values, values, self._heads, self._heads]
        self._into = torch.cat([weights[f"{name}.{part}_proj.weight"] for part in "qkvgab"])
        self._output, self._norm = weights[f"{name}.o_proj.weight"], weights[f"{name}.o_norm.weight"]
        self._kernel = torch.cat([weights[f"{name}.{part}_conv1d.weight"] for part in "qkv"]).float()
        self._decay, self._bias = weights[f"{name}.A_log"].float().exp(), weights[f"{name}.dt_bias"].float()
        self._largest = 2.0 if config["linear_allow_neg_eigval"] else 1.0
        device = self._into.device
        shape = slots, len(self._kernel), self._kernel.shape[-1] - 1
        self._inputs = torch.zeros(shape, dtype=torch.bfloat16, device=device)
        self._matrices = torch.zeros(slots, self._heads, *self._sizes, device=device)

    def state(self, slot: int) -> State:
        """Return a copy of a slot's state."""
        return State(self._inputs[slot].clone(), self._matrices[slot].clone())

    def put(self, slot: int, state: State) -> None:
        """Overwrite a slot's state."""
        self._inputs[slot], self._matrices[slot] = state.inputs, state.matrices

    def __call__(self, hidden: torch.Tensor, places: Sequence[Place]) -> torch.Tensor:
        """Return the layer's part of each row, and move the states of the slots on."""
        fresh = [slot for _, slot, start in places if start == 0]
        if fresh:
            self._inputs[fresh] = 0
            self._matrices[fresh] = 0
        query, key, value, gate, step, beta = linear(hidden, self._into).split(self._parts, dim=-1)
        mixed = torch.cat((query, key, value), dim=-1)
        decay = -self._decay * softplus(step.float() + self._bias)
        strength = self._largest * beta.float().sigmoid()
        seen = torch.empty(len(hidden), self._heads, self._sizes[1], device=hidden.device)
        single = [place for place in places if place[0].stop - place[0].start == 1]
        if single:
            rows, slots = [place[0].start for place in single], [place[1] for place in single]
            seen[rows] = self._once(mixed[rows], decay[rows], strength[rows], slots)
        for rows, slot, _ in (place for place in places if place[0].stop - place[0].start > 1):
            seen[rows] = self._many(mixed[rows], decay[rows], strength[rows], slot)
        gated = normed(seen.to(hidden.dtype), self._norm, NORM_EPSILON).float()
        gated = gated * silu(gate.reshape(gated.shape).float())
        return linear(gated.to(hidden.dtype).flatten(1), self._output)

    def _once(self, mixed: torch.Tensor, decay: torch.Tensor, strength: torch.Tensor, slots: list[int]) -> torch.Tensor:
        """One token for each of several slots, together."""
        window = torch.cat((self._inputs[slots], mixed.unsqueeze(-1)), dim=-1)
        self._inputs[slots] = window[..., 1:]
        query, key, value = self._split(silu((window.float() * self._kernel.squeeze(1)).sum(-1)))
        matrices = self._matrices[slots] * decay.exp()[..., None, None]
        known = torch.einsum("nhk,nhkv->nhv", key, matrices)
        matrices = matrices + torch.einsum("nhk,nhv->nhkv", key, (value - known) * strength.unsqueeze(-1))
        self._matrices[slots] = matrices
        return torch.einsum("nhk,nhkv->nhv", query, matrices) * self._sizes[0] ** -0.5

    def _many(self, mixed: torch.Tensor, decay: torch.Tensor, strength: torch.Tensor, slot: int) -> torch.Tensor:
        """Several tokens of one slot."""
        whole = torch.cat((self._inputs[slot], mixed.T), dim=-1)
        self._inputs[slot] = whole[:, -self._inputs.shape[-1] :]
        convolved = conv1d(whole.float().unsqueeze(0), self._kernel, groups=len(self._kernel))[0].T
        query, key, value = self._split(silu(convolved))
        seen, matrices = torch_chunk_gated_delta_rule(
            query[None], key[None], value[None], g=decay[None], beta=strength[None],
            initial_state=self._matrices[None, slot], output_final_state=True,
        )  # fmt: skip
        self._matrices[slot] = matrices[0]
        return seen[0]

    def _split(self, mixed: torch.Tensor) -> list[torch.Tensor]:
        """Return queries and keys of length one, and values, each [rows, heads, size]."""
        parts = mixed.split(self._parts[:3], dim=-1)
        query, key, value = (part.reshape(len(mixed), self._heads, -1) for part in parts)
        unit = [part * torch.rsqrt(part.square().sum(-1, keepdim=True) + UNIT_EPSILON) for part in (query, key)]
        return [*unit, value]

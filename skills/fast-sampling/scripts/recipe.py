"""Draw from a nucleus without sorting the vocabulary."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

SAMPLING = {
    "Logits = NDArray[np.float32]\n": """Logits = NDArray[np.float32]

REDRAWS = 8
# Below this temperature the draw is greedy in float32 whatever the logits are.
COLDEST = 1e-6
""",
    "        return self._draw(np.exp((logits.astype(np.float64) - logits.max()) / self.temperature))\n": '''\
        if 0 < self._top_k < logits.size:
            kept = np.flatnonzero(logits >= np.partition(logits, -self._top_k)[-self._top_k])
            return int(kept[self._draw(self._weights(logits[kept]))])
        return self._draw(self._weights(logits))

    def _weights(self, logits: Logits) -> Logits:
        """Return unnormalised weights; the largest is 1."""
        return np.exp((logits - logits.max()) / max(self.temperature, COLDEST))
''',
    '''    def _draw(self, weights: NDArray[np.float64]) -> int:
        """Draw from unnormalised weights, cut to the top-k and then to the nucleus that reaches top-p."""
        if 0 < self._top_k < weights.size:
            weights[weights < np.partition(weights, -self._top_k)[-self._top_k]] = 0.0
        if self._top_p < 1:
            order = np.argsort(weights)[::-1]
            before = np.cumsum(weights[order]) - weights[order]
            weights[order[before >= self._top_p * weights.sum()]] = 0.0
        cumulated = np.cumsum(weights)
        return int(np.searchsorted(cumulated, self._random.random() * cumulated[-1], side="right"))
''': '''    def _draw(self, weights: Logits) -> int:
        """Draw from unnormalised weights within the nucleus that reaches top-p.

        A draw from all weights that is accepted only inside the nucleus is a draw from the nucleus (rejection
        sampling), and whether a token is inside needs the mass of the likelier ones, but no order.
        """
        cumulated = np.cumsum(weights, dtype=np.float64)
        for _ in range(REDRAWS):
            place = self._place(cumulated)
            likelier = float((weights * (weights > weights[place])).sum())
            if self._top_p >= 1 or likelier < self._top_p * cumulated[-1]:
                return place
        order = np.argsort(weights)[::-1]
        ranked = np.cumsum(weights[order], dtype=np.float64)
        size = int(np.searchsorted(ranked, self._top_p * ranked[-1])) + 1
        return int(order[self._place(ranked[:size])])

    def _place(self, cumulated: NDArray[np.float64]) -> int:
        return int(np.searchsorted(cumulated, self._random.random() * cumulated[-1], side="right"))
''',
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"fast-sampling: {reason}", file=sys.stderr)
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
    path = parser.parse_args().workspace / "sampling.py"
    if "REDRAWS" in edited(path, {}):
        refuse("sampling.py draws by rejection already")
    path.write_text(edited(path, SAMPLING), encoding="utf-8")
    print("sampling.py: draws from the nucleus by rejection, without sorting the vocabulary")


if __name__ == "__main__":
    main()

"""The smallest text model with a chat template beside it: the text target's own recipe, and one file more."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TEXT = Path(__file__).resolve().parents[4] / "targets" / "tiny_llama" / "reference.py"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def build(folder: Path, *, seed: int, **dimensions: int) -> None:
    """Write the model in Hugging Face layout into an existing folder."""
    spec = importlib.util.spec_from_file_location("text_reference", TEXT)
    assert spec is not None
    assert spec.loader is not None
    text = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(text)
    text.build(folder, seed=seed, **dimensions)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    (folder / "chat_template.jinja").chmod(0o644)

"""Where a target's model lies on this machine: made once for built weights, fetched once from the hub."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import platformdirs
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.target import Target

CACHE_VARIABLE = "VIBESERVE_CACHE"
MANIFEST = ".manifest.json"
SMALLEST = [".gitattributes"]
"""What is fetched of a repository to learn what a branch stands for."""

LEAST_FREE_BYTES = 256 * 2**20
"""Free space that a first build needs where nothing is known of its size."""

COMMIT = re.compile(r"[0-9a-f]{40}")
SOURCES = "sources"
"""The builder's parameter that names what it fetches: words of repository@revision."""

INSTALL = "pip install 'pytest-vibeserve[torch]'"

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".npz", ".gguf")

MISTAKE = 4
"""How a builder's process ends where the target's author has to mend something; its last line says what."""

_CHILD = f"""
import json, pathlib, sys
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import imported, nearest, own
path, function, folder, parameters = sys.argv[1:]
try:
    module = imported(pathlib.Path(path))
    if not hasattr(module, function):
        raise UsageError(path + " has no such function; " + nearest(function, vars(module)))
    own(pathlib.Path(path), lambda: getattr(module, function)(pathlib.Path(folder), **json.loads(parameters)))
except UsageError as error:
    if isinstance(error.__cause__, OSError):
        raise error.__cause__
    print(error, file=sys.stderr)
    sys.exit({MISTAKE})
"""


class Manifest(BaseModel):
    """What a built model folder holds: file name to (bytes, sha256); `sources` are what it was fetched from.

    A source is `repository@commit`: what a branch stood for when the folder was made.
    """

    model_config = ConfigDict(frozen=True)
    files: dict[str, tuple[int, str]]
    sources: tuple[str, ...] = ()


def cache_root() -> Path:
    """The folder of everything that is made once and used again; `VIBESERVE_CACHE` moves it."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else platformdirs.user_cache_path("pytest-vibeserve")


def model_folder(target: Target) -> Path:
    """The target's model in Hugging Face layout, readable by any user; made or fetched on first use.

    A built model is checked against its digests on every use and made again when it differs, or when a branch of the
    hub that it was made from stands for another commit now.  UsageError when a package or the hub is missing, or the
    builder is written wrongly; InfrastructureError when the disk is full or the builder fails otherwise.
    """
    if not target.model.builder:
        return _fetched(target)
    _require("torch", "transformers", "safetensors", "tokenizers")
    folder = _built_folder(target)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        sources = _resolved(target, _manifest(folder))
        if not _intact(folder) or sources != _manifest(folder).sources:  # type: ignore[union-attr]
            _build(target, folder, sources)
    return folder


def model_digest(folder: Path) -> str:
    """A digest (hex) of a model folder's content: of its manifest, or else of names, sizes and small files."""
    manifest = folder / MANIFEST
    if manifest.is_file():
        return hashlib.sha256(manifest.read_bytes()).hexdigest()
    # The hub's cache names a folder by its commit: of a branch that has moved, large files may differ alone.
    state = hashlib.sha256(folder.name.encode() if COMMIT.fullmatch(folder.name) else b"")
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        state.update(f"{path.name}:{size}:".encode())
        state.update(_sha256(path).encode() if size < LEAST_FREE_BYTES else b"large")
    return state.hexdigest()


def _built_folder(target: Target) -> Path:
    return cache_root() / "models" / f"{target.model.id.replace('/', '--')}-{_recipe_digest(target)[:16]}"


def _recipe_digest(target: Target) -> str:
    file, _, function = target.model.builder.partition(":")
    path = target.folder / f"{file}.py"
    if not function or not path.is_file():
        raise UsageError(
            f"{target.folder}: model.builder is {target.model.builder!r}; give `file:function`, "
            f"with {file}.py in the target's folder"
        )
    stated = json.dumps([function, target.model.dtype, target.model.parameters], sort_keys=True)
    return hashlib.sha256(path.read_bytes() + stated.encode()).hexdigest()


def _intact(folder: Path) -> bool:
    manifest = _manifest(folder)
    if manifest is None:
        return False
    present = {path.name for path in folder.iterdir() if path.name != MANIFEST}
    if present != set(manifest.files):
        return False
    return all(
        (folder / name).stat().st_size == size and _sha256(folder / name) == digest
        for name, (size, digest) in manifest.files.items()
    )


def _manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _resolved(target: Target, known: Manifest | None) -> tuple[str, ...]:
    """What a builder is to fetch, each branch as the commit that it stands for; where the hub is out of reach, what
    the folder was made from, or else as stated.
    """
    stated = tuple(str(target.model.parameters.get(SOURCES, "")).split())
    if all(COMMIT.fullmatch(source.partition("@")[2]) for source in stated):
        return stated
    _require("huggingface_hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    found = []
    try:
        for name, _, revision in (source.partition("@") for source in stated):
            # The last part of a snapshot's path is the commit that its revision stands for.
            found.append(f"{name}@{Path(snapshot_download(name, revision=revision, allow_patterns=SMALLEST)).name}")
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, ConnectionError):
        return known.sources if known and known.sources else stated
    return tuple(found)


def _build(target: Target, folder: Path, sources: tuple[str, ...]) -> None:
    known = _manifest(folder)
    needed = sum(size for size, _ in known.files.values()) if known else LEAST_FREE_BYTES
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise InfrastructureError(_disk_full(folder, needed, free))
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _run_builder(target, temporary, needed, sources)
        files = {path.name: (path.stat().st_size, _sha256(path)) for path in temporary.iterdir() if path.is_file()}
        _require_model(target, files)
        (temporary / MANIFEST).write_text(Manifest(files=files, sources=sources).model_dump_json(), encoding="utf-8")
        for path in temporary.iterdir():
            path.chmod(0o644)
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise InfrastructureError(f"cannot write the model to {folder}: {error}") from error
        raise InfrastructureError(_disk_full(folder, needed, shutil.disk_usage(folder.parent).free)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run_builder(target: Target, folder: Path, needed: int, sources: tuple[str, ...]) -> None:
    file, _, function = target.model.builder.partition(":")
    path = target.folder / f"{file}.py"
    fetched = {SOURCES: " ".join(sources)} if sources else {}
    stated = json.dumps(target.model.parameters | fetched)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path), function, str(folder), stated], capture_output=True, text=True
    )
    if done.returncode == 0:
        return
    if "No space left on device" in done.stderr:
        raise InfrastructureError(_disk_full(folder, needed, shutil.disk_usage(folder).free))
    last = (done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"])[0].strip()
    if done.returncode == MISTAKE:
        raise UsageError(
            f"model.builder {target.model.builder!r} could not make the model of [model.parameters]: {last}"
        )
    raise InfrastructureError(f"{path}: {function} could not make the model: {last}")


def _require_model(target: Target, files: Iterable[str]) -> None:
    """UsageError where a builder has written no model: no candidate is to be blamed for it."""
    wanted = {("config.json",): "config.json", WEIGHTS: "weights (*.safetensors)"}
    missing = [told for endings, told in wanted.items() if not any(name.endswith(endings) for name in files)]
    if missing:
        raise UsageError(
            f"model.builder {target.model.builder!r} of {target.folder} wrote no {' and no '.join(missing)}: "
            "it is to write a model in Hugging Face layout into the folder that it is given"
        )


def _disk_full(folder: Path, needed: int, free: int) -> str:
    return (
        f"the model needs {needed} bytes at {folder.parent}, where {free} are free; "
        f"free some space, or set {CACHE_VARIABLE} to a larger disk"
    )


def _fetched(target: Target) -> Path:
    _require("torch", "transformers", "huggingface_hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    model = target.model
    kept = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(snapshot_download(model.id, revision=model.revision, allow_patterns=kept))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"{model.id} at revision {model.revision} cannot be fetched from the hub ({reason}); "
            f"connect to the network, run `hf auth login` where the model is gated, or use --vibeserve-profile tiny"
        ) from error


def fetched_commit(target: Target) -> str:
    """The commit that a hub model's revision stood for when it was fetched; "" where it was not, and for drawn ones.

    Of a folder that was made from several repositories, all of them as repository@commit.
    """
    if SOURCES in target.model.parameters:
        manifest = _manifest(_built_folder(target))
        return " ".join(manifest.sources) if manifest else ""
    if target.model.builder or importlib.util.find_spec("huggingface_hub") is None:
        return ""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(target.model.id, revision=target.model.revision, local_files_only=True)).name
    except (LocalEntryNotFoundError, HFValidationError):
        return ""


def _require(*modules: str) -> None:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"the reference needs {', '.join(missing)}: {INSTALL}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""Folders on their way to another machine and back, as archives of the same absolute paths."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from pytest_vibeserve.errors import InfrastructureError

KEPT = (".git",)


def packed(paths: Iterable[Path]) -> bytes:
    """A gzipped archive of files and folders under their absolute paths."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for path in paths:
            archive.add(path, arcname=str(path).lstrip("/"))
    return buffer.getvalue()


def replaced(folder: Path, data: bytes) -> None:
    """Make a folder equal to the archive of its content; what git keeps there stays as it is.

    InfrastructureError for an archive that is damaged or that would write elsewhere.
    """
    with_new = folder.parent / f".{folder.name}.new"
    shutil.rmtree(with_new, ignore_errors=True)
    with_new.mkdir()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            archive.extractall(with_new, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        shutil.rmtree(with_new)
        raise InfrastructureError(f"what came back of {folder.name} cannot be unpacked: {error}") from None
    for path in folder.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for path in with_new.iterdir():
        if path.name not in KEPT:
            os.replace(path, folder / path.name)
    shutil.rmtree(with_new)

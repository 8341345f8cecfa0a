"""Compiles image.cpp into libimage.so beside it, for the processor that this runs on; the [build] command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")


def main() -> int:
    """Return the compiler's exit status, or 1 when there is no compiler on PATH."""
    folder = Path(__file__).resolve().parent
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    if compiler is None:
        print("no C++ compiler on PATH (looked for c++, g++, clang++)", file=sys.stderr)
        return 1
    return subprocess.call([compiler, *FLAGS, str(folder / "image.cpp"), "-o", str(folder / "libimage.so")])


if __name__ == "__main__":
    sys.exit(main())

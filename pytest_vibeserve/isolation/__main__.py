"""`python -m pytest_vibeserve.isolation`: says as JSON how far candidates are kept apart here; 1 when not at all."""

import json
import sys
from dataclasses import asdict

from pytest_vibeserve.isolation.levels import probe

if __name__ == "__main__":
    found = probe()
    print(json.dumps(asdict(found)))
    sys.exit(0 if found.available else 1)

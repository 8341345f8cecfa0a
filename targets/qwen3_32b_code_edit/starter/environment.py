"""Settings of the process that must stand before torch is loaded; importing this module makes them."""

import os

# Threads that spin for long while they wait take the cores from whoever shares them, such as this server's clients.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

"""Settings of the process that must stand before torch is loaded; importing this module makes them."""

import os

# Threads that wait by spinning take the cores from whoever shares them, such as the clients of this server.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

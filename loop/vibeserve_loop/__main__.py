"""`python -m vibeserve_loop`: the same as the command `vibeserve-loop`."""

from vibeserve_loop.cli import main

main()

"""What the commands of `vibeserve-loop` do, one module each."""

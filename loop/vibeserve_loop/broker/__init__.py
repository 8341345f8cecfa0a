"""The broker of the gate: what agents may ask of it, how they reach it, and what it remembers."""

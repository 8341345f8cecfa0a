"""A contract's own test: candidates of known worth, and whether the gate tells them apart."""

"""The parts of the page that `vibeserve-loop report` writes."""

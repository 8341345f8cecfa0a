"""Judge and measure a model server: accuracy contracts and benchmarks as pytest suites."""

__version__ = "0.1.0"

"""`python -m pytest_vibeserve.load_command URL`: load any OpenAI-like server from outside a gate."""

"""The tool loop behind the agents that call a model's interface directly: tools, prices, limits and the loop itself."""

"""The record of a run, what people ordered of it, and what follows from both."""

"""Ferryman: an LLM gateway. See docs/architecture.md for the rooms and their order."""

__version__ = "0.1.0"

"""Secrets at rest. What opens them runs in a process of its own (``__main__``), which then ends."""

"""Ferryman's benchmark: every gateway on this machine under the same load (``python -m bench``)."""

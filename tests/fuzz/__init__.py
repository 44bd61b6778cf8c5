"""Slices of the fuzzing in ``soak/fuzz``, and the cases that it has found."""

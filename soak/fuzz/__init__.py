"""Fuzzing by seeds: both HTTP ends, every decoder, the configuration, and running planes.

A *target* plays one case, made from a seed of its own: the same seed gives the same case. What it
finds is an exception; ``run.py`` keeps the seeds of those and looks for leaks. Two readers judge
the HTTP ends: h11, and ``reading.py``, which takes only what has one meaning.
"""

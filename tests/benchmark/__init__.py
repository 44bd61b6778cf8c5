"""Tests of the benchmark itself: a wrong ruler is worse than none."""

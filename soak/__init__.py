"""Proofs that take long or hurt: killed processes, full disks, crowds, hours of load.

``python -m soak`` runs them whole; ``tests/chaos/`` runs a short, seeded slice of each.
"""

"""The verifier's own test: every fact that a backend's rule can get wrong is planted in turn, and has to be found.

`python -m tests.mutations` prints the score.
"""

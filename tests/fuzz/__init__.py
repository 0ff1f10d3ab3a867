"""Random specs: valid ones, on which every backend must agree, and hostile ones, which must be refused in words.

`python -m tests.fuzz --count 1000 --seed 7` runs the valid ones; the suite runs a bounded number of both.
"""

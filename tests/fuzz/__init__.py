"""Random specs: valid ones, on which every backend must agree, and hostile ones, which must be refused in words.

`python -m tests.fuzz --count 1000 --seed 7` runs the valid ones; the suite runs a bounded number of both.

| file | what is there |
|---|---|
| `document.py` | a spec as data, and its texts and files |
| `kept.py`, `walk.py`, `meaning.py` | its meaning beside the compiler: a row; bodies and variants; the whole |
| `kinds.py`, `rows.py`, `bodies.py` | drawing: the fields of a kind; a row in any notation; rows, branches and blocks |
| `generate.py`, `variants.py` | drawing: a whole spec; what its variants change |
| `check.py`, `shown.py`, `workers.py` | a spec through everything; what people are shown; the backends |
| `shrink.py`, `run.py` | making a spec small that fails; many specs at once |
| `coverage.py` | what of the language they have |
| `hostile.py` | damaged texts and tangled folders |
"""

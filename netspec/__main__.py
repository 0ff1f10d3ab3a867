"""`python -m netspec`, as programs that start Python modules call it: `torchrun -m netspec train SPEC`."""

from netspec.cli import main

main()

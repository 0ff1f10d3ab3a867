"""The command line: arguments, exit codes and what is printed; no logic."""

import gc
import os

# A command that only reads a spec ends before there is much garbage, and starting is most of its work: collecting it
# while modules load, and looking for pydantic plugins in every installed distribution, would be a quarter of that.
gc.disable()
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from netspec.cli.app import app  # noqa: E402
from netspec.cli.commands import main  # noqa: E402

__all__ = ["app", "main"]

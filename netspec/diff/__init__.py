"""What differs between two specs, two files of weights, or two exported models.

Two specs are compared in their resolved meaning, row by row as their names say; two files tensor by tensor and, where
both can be run, by what they compute. A spec and a file are `netspec.verify.against.files`.
"""

from netspec.diff.files import diff_files
from netspec.diff.specs import diff_specs

__all__ = ["diff_files", "diff_specs"]

"""Any file against a spec: its weights are read, the reference computes with them, and its stock runtime runs it."""

from netspec.verify.against.check import check_against
from netspec.verify.against.request import OTHER, Request

__all__ = ["OTHER", "Request", "check_against"]

"""Exported networks at work: which artefact runs, on which inputs, what it says and how good that is."""

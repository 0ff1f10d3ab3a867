"""Text -> Spec: the YAML reader with positions, the notations of a row, the sections, and the way back to text."""

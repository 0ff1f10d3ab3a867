"""The Python source that backends emit: how it is worded, which code is shared, and in which order it stands."""

"""The stages of a build, one file each, and what they share; `netspec.building.build` says in which order they run."""

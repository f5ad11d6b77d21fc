"""One file an experiment: what a single run does and what it records."""

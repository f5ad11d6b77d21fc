"""Random settings, run by the real frameworks and by our arithmetic, compared cell by cell."""

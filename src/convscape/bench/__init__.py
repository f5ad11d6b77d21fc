"""Measure this package's kernels beside other libraries: `convscape bench`.

`shapes` says what is measured, `peers` who takes part, `measure` how times are taken, `limits` what
the machine could do at best; `run` puts them together into plain data for `report` and `plot`.
"""

"""From cells to a result a trial can use: pure functions on numbers, no files.

`rates` gives the result of a slide, specimen or patient; `controls` and `recovery` judge it by control slides;
`clearance` compares two time points; `cohort` the arms of a trial; `detection` corrects for cells missed; `adviser`
says how many cells to screen; `agreement` compares assays. Formulas, sources and measured coverage: docs/statistics.md.
"""

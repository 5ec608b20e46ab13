"""What a results folder and its readers' verdicts say together, for a trial, and the page that shows it.

`study.make_study` leads from records, verdicts and the laboratory's tables (assays, arms, time points) to one `Study`;
`tables` writes it as CSV and `page` as HTML. No image is needed. docs/report.md explains every figure.
"""

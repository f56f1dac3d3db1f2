"""Whether the figures of a dataset and its split can be trusted: duplicates, leaks, shortcuts.

``python -m tl_hpo.data.audit dataset=…`` audits one; `tl_hpo.data.audit.checks.audit` is what it
and the reports call.
"""

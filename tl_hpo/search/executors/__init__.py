"""Executors: what runs the trials of a search, here or elsewhere, some of them at once.

`base` says what an executor is; `local` and `slurm` are two. `wire` and `worker` are what those
in several processes share; `slots` belongs to `local`; to `slurm` belong `mailbox`, `submission`
and what has its name in front.
"""

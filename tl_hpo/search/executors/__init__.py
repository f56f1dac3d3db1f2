"""Executors: what runs the trials of a search, here or elsewhere, some of them at once.

`base` says what an executor is; every other module but `worker`, `wire` and `slots` is one.
"""

"""Frozen layers are computed once: cutting a backbone, planning what to keep, keeping it."""

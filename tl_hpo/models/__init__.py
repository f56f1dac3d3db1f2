"""Backbones and their ordered layers, freezing, the Lightning module."""

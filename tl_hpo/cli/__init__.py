"""What train.py and optimize.py do; the only place where all packages meet."""

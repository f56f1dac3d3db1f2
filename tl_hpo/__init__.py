"""tl_hpo: automatic hyperparameter optimisation of transfer learning on medical images."""

__version__ = "0.1.0"

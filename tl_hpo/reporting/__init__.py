"""Tables and figures of experiments, made from the files of their run folders."""

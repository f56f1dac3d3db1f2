"""One of several processes of an experiment: python sharer.py URL FOLDER SECONDS [OVERRIDE...]."""

import sys
import time
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from simulated import SimulatedRunner

from tl_hpo.config import CONF_DIR, group_options, register_resolvers
from tl_hpo.search.experiment import Experiment, Plan
from tl_hpo.search.storages import open_shared_storage
from tl_hpo.search.strategy import parse_strategy


class Slow(SimulatedRunner):
    def __init__(self, seconds: float, notes: Path) -> None:
        super().__init__()
        self._seconds, self._notes = seconds, notes

    def run(self, overrides: Any, folder: Path, *others: Any) -> Any:
        time.sleep(self._seconds)
        result = super().run(overrides, folder, *others)
        with self._notes.open("a") as file:
            file.write(f"{folder.name}\n")
        return result


def main(url: str, folder: Path, seconds: float, overrides: list[str]) -> None:
    register_resolvers()
    asked = ["search.models=[densenet121,vgg16]", "pruner=none", *overrides]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("optimize", overrides=asked)
    resolved: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore
    plan = Plan(
        folder=folder,
        strategy=parse_strategy(resolved["strategy"]),
        overrides=["model=densenet121", "optimizer=adam", "seed=7"],
        fixed=(),
        models=group_options("model"),
        sampler=resolved["sampler"],
        pruner=resolved["pruner"],
        seed=0,
    )
    folder.mkdir(parents=True, exist_ok=True)
    storage = open_shared_storage(url, folder, 1)
    best = Experiment(plan, Slow(seconds, folder / "ran.txt"), storage).run()
    print(best.number, best.value)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])

from tl_hpo.config import compose_trial
from tl_hpo.training.hyperparameters import further_settings, hyperparameters


def test_what_trials_csv_describes_a_trial_by():
    trial = compose_trial(["model=vgg16", "optimizer=sgd", "head.optimizer.lr=0.5"])
    assert hyperparameters(trial) == {
        "model": "vgg16",
        "head_optimizer": "sgd",
        "head_lr": 0.5,
        "finetune_optimizer": "sgd",
        "finetune_lr": 0.01,
        "delimiting_layer": 2 / 3,
    }


def test_the_other_settings_are_told_by_the_keys_that_set_them():
    changed = ["optimizer=sgd", "finetune.optimizer.momentum=0.9", "batch_size=8", "seed=3"]
    told = further_settings(compose_trial(changed))
    assert told["finetune.optimizer.momentum"] == 0.9
    assert told["head.optimizer.momentum"] == 0.0
    assert (told["batch_size"], told["seed"], told["finetune.scheduler"]) == (8, 3, "constant")
    assert not [key for key in told if key.endswith((".lr", "_target_"))]

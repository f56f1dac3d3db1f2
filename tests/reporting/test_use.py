from dataclasses import replace
from pathlib import Path

from tl_hpo.reporting import use
from tl_hpo.reporting.records import Experiment, Run
from tl_hpo.training.calibration import Calibration, CalibrationError

RUN = Run(folder=Path(), experiment=Experiment("eyes", "shared"))
ONE = Calibration(1.7, CalibrationError(0.1, 0.02))


def test_the_change_of_each_side_is_told():
    told = use.calibration(replace(RUN, calibration=ONE))
    assert "Temperature 1.700" in told[1]
    assert "| validation | 0.1000 | 0.0200 |" in told[2]
    assert "test" not in told[2]
    both = replace(ONE, test=CalibrationError(0.3, 0.25))
    assert "| test | 0.3000 | 0.2500 |" in use.calibration(replace(RUN, calibration=both))[2]


def test_of_a_model_without_them_nothing_is_said():
    assert use.calibration(RUN) == use.speed(RUN) == []


def test_where_no_temperature_could_be_fitted_it_says_so():
    perfect = Calibration(1.0, CalibrationError(0.1, 0.1))
    assert "No temperature could be fitted" in use.calibration(replace(RUN, calibration=perfect))[3]

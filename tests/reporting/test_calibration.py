from tl_hpo.reporting.calibration import section
from tl_hpo.training.calibration import Calibration, CalibrationError, write_calibration


def test_the_change_of_each_side_is_told(tmp_path):
    one = Calibration(1.7, CalibrationError(0.1, 0.02))
    write_calibration(tmp_path, one)
    (text,) = section(tmp_path)
    assert "temperature 1.700" in text
    assert "from 0.1000 to 0.0200 on the validation side, which it was fitted on." in text
    write_calibration(tmp_path, Calibration(1.7, one.validation, CalibrationError(0.3, 0.25)))
    assert "and from 0.3000 to 0.2500 on the test side." in section(tmp_path)[0]


def test_of_a_model_without_it_nothing_is_said(tmp_path):
    assert section(tmp_path) == []


def test_where_none_could_be_fitted_it_says_so(tmp_path):
    write_calibration(tmp_path, Calibration(1.0, CalibrationError(0.1, 0.1)))
    (text,) = section(tmp_path)
    assert "is 0.1000 on the validation side. No temperature could be fitted" in text

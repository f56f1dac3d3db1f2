import pytest
import timm

from tl_hpo.errors import UserError
from tl_hpo.models.backbone import check_known, default_size, normalisation


@pytest.mark.parametrize("name", ["legacy_xception", "legacy_xception.tf_in1k", "resnet50.a1_in1k"])
def test_names_that_timm_uses_are_known_with_and_without_a_tag(name):
    check_known(name)


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("xception", "legacy_xception.tf_in1k"),
        ("tf_efficientnet_b0_ap", "tf_efficientnet_b0.ap_in1k"),
        ("vit_base_patch16_224_in21k", "vit_base_patch16_224.augreg_in21k"),
    ],
)
def test_a_former_name_of_timms_is_refused_for_the_present_one(former, now):
    assert timm.is_model(former)  # which would make it, but know no image size by that name
    with pytest.raises(UserError, match=f"'{former}', a former one; set model.name={now}"):
        check_known(former)
    check_known(now)


def test_what_timm_does_not_have_is_told_with_what_is_near():
    with pytest.raises(UserError, match=r"got 'resnet51'.*resnet50"):
        check_known("resnet51")


def test_a_tag_of_weights_that_timm_does_not_have_is_told():
    with pytest.raises(UserError, match=r"got 'resnet50\.nonsense'.*leave the tag out"):
        check_known("resnet50.nonsense")


def test_a_name_must_be_text():
    with pytest.raises(UserError, match="got 50"):
        check_known(50)


def test_the_image_size_and_the_normalisation_are_those_of_the_weights():
    assert default_size("legacy_xception") == (299, 299)
    assert normalisation("legacy_xception") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert default_size("resnet50") == (224, 224)

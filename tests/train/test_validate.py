import pytest

from fakescan.train.validate import Validation


@pytest.mark.parametrize(
    ("monitor", "pair_auc", "expected"),
    [
        ("auc", 0.6, (0.9, -0.3)),
        ("mean", 0.6, (0.75, -0.3)),
        ("mean", None, (0.9, -0.3)),  # nothing held out in pairs: images alone
        ("loss", 0.6, (0.0, -0.3)),
    ],
)
def test_the_figure_that_decides_is_the_one_asked_for(monitor, pair_auc, expected):
    found = Validation(loss=0.3, auc=0.9, balanced_accuracy=0.8, pair_auc=pair_auc)
    assert found.figure(monitor) == pytest.approx(expected)

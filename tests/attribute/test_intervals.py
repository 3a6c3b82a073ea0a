"""Intervals of AAF over judged images, and of paired differences."""

import pytest

from fakescan.attribute.intervals import difference, interval


def test_the_value_is_the_mean_over_tasks_of_the_mean_over_orders():
    first, second = {"a": [1, 1, 0, 0], "b": [1]}, {"b": [0], "a": [1, 0, 0, 0]}
    # task a: (2/4 + 1/4) / 2, task b: 1/2
    assert interval([first, second]).value == pytest.approx((0.375 + 0.5) / 2)


def test_images_that_all_agree_leave_no_width():
    found = interval([{"a": [1] * 9, "b": [0] * 5}])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_width_is_that_of_a_share():
    found = interval([{"a": [1, 0] * 200}])
    deviation = (0.25 / 400) ** 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * deviation, abs=0.008)
    assert found.high == pytest.approx(0.5 + 1.96 * deviation, abs=0.008)


def test_a_difference_is_paired():
    better = {"a": [1, 0] * 200}
    worse = {"a": [0, 0] + [1, 0] * 199}
    found = difference([better], [worse])
    assert found.value == pytest.approx(1 / 400)
    assert found.low == 0.0  # in some resample the one image is missing, in none it is negative
    assert found.high < 0.01
    same = difference([better], [better, better])
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)

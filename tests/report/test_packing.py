"""Numbers come out of a page as they went in, and no text of a run ends its script."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_lab.report.packing import log_codes, packed, script_text
from tests.report.unpacking import log_values, unpacked


@pytest.mark.parametrize("kind", ["f4", "u1", "u2", "u4"])
def test_a_typed_array_comes_back_bit_for_bit(kind):
    values = np.random.default_rng(0).integers(0, 200, (3, 4, 5))
    assert np.array_equal(unpacked(packed(values, kind)), values)


def test_numbers_that_are_not_finite_come_back_as_they_were():
    values = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0], dtype=np.float32)
    assert unpacked(packed(values, "f4")).tobytes() == values.tobytes()


@given(st.lists(st.floats(1e-12, 1e12) | st.sampled_from([0.0, -1.0, math.nan, math.inf]), min_size=1, max_size=40))
def test_logarithms_come_back_to_a_fifth_of_a_percent_of_ten_decades(values):
    numbers = np.array(values)
    codes, ends = log_codes(numbers)
    back = log_values(codes, ends)
    real = (numbers > 0) & np.isfinite(numbers)
    assert np.array_equal(np.isnan(back), ~real)
    tolerance = math.log(10) * (ends[1] - ends[0]) / 65_534 / 2 + 1e-12
    assert np.allclose(np.log(back[real]), np.log(numbers[real]), rtol=0, atol=tolerance + 1e-9)


def test_equal_numbers_have_one_code():
    codes, ends = log_codes(np.full((2, 2), 0.25))
    assert codes.tolist() == [[1, 1], [1, 1]]
    assert np.allclose(log_values(codes, ends), 0.25)


HOSTILE = "</script><script>alert(1)</script><!-- ]]> \u2028 \u202e & ' \" \\ \U0001f642 \x00"


def test_no_text_ends_the_script_that_carries_it():
    text = script_text({HOSTILE: [HOSTILE]})
    assert not set("<>&\u2028\u2029\u202e\x00") & set(text)
    assert json.loads(text) == {HOSTILE: [HOSTILE]}


def test_what_is_no_number_becomes_null():
    assert script_text([math.nan, math.inf, np.float32(1.5), np.int64(2), True]) == "[null,null,1.5,2,true]"

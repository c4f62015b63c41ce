"""Reading ahead changes when something is read, and nothing else."""

from __future__ import annotations

import threading

import pytest

from collapse_lab.train.ahead import ahead


def test_answers_come_in_order_and_each_is_asked_for_once():
    asked = []

    def read(number: int) -> int:
        asked.append(number)
        return number * number

    assert list(ahead(read, range(20))) == [number * number for number in range(20)]
    assert asked == list(range(20))


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_no_more_than_the_depth_is_asked_for_early(depth):
    pulled = []
    answers = ahead(lambda number: number, (pulled.append(number) or number for number in range(9)), depth)
    next(answers)
    assert pulled == list(range(depth + 1))
    answers.close()


def test_an_error_comes_where_its_answer_would_have_come():
    answers = ahead(lambda number: 1 // (2 - number), range(5))
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(answers)


def test_whoever_stops_early_leaves_no_thread_behind():
    answers = ahead(lambda number: number, range(1000))
    next(answers)
    assert any(thread.name.startswith("ahead") for thread in threading.enumerate())
    answers.close()
    assert not any(thread.name.startswith("ahead") for thread in threading.enumerate())

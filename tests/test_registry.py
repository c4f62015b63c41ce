"""Tables of names answer a wrong name with a right one."""

from __future__ import annotations

import pytest

from collapse_lab.registry import Registry, nearest


def test_entries_come_back_in_their_order():
    table = Registry("fruit", {"pear": 1})
    assert table.add("apple", 2) == 2
    assert list(table) == ["pear", "apple"]
    assert (table["apple"], len(table), "pear" in table, "plum" in table) == (2, 2, True, False)


def test_a_name_is_defined_once():
    with pytest.raises(ValueError, match="the fruit 'pear' is defined twice"):
        Registry("fruit", {"pear": 1}).add("pear", 2)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(LookupError, match=r"no fruit is called 'paer'; did you mean 'pear'\? There is: pear, apple$"):
        Registry("fruit", {"pear": 1, "apple": 2})["paer"]


def test_an_error_lists_what_there_is_and_how_much():
    assert nearest("zzz", []) == "; there is: nothing"
    assert nearest("zzz", map(str, range(20))) == "; there is: 0, 1, 2, 3, 4, 5, 6, 7 ... (20 in all)"

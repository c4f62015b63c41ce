"""Mutants are single changes of a module, each of them another program."""

from __future__ import annotations

import ast

import pytest

from benchmarks.mutation import ELSEWHERE, MODULES, mutants_of, printed, sample, unchanged

SOURCE = '''
def share(x):
    """Not 1 of these words."""
    if not x.any():
        return 0.5
    return x.sum() / 2 if len(x) > 3 else -max(x.abs(), 0.0)
'''


def test_every_operator_condition_number_and_reduction_is_changed_once():
    changes = [mutant.change for mutant in mutants_of("m", SOURCE)]
    assert sorted(changes) == sorted(
        [
            "not x.any(): not not",
            "if not x.any(): True",
            "if not x.any(): False",
            "x.any: all",
            "0.5: 1.0",
            "if len(x) > 3: True",
            "if len(x) > 3: False",
            "len(x) > 3: GtE",
            "x.sum() / 2: Mult",
            "x.sum: mean",
            "2: 3",
            "3: 4",
            "-max(x.abs(), 0.0): UAdd",
            "max(x.abs(), 0.0): min",
            "x.abs(): without abs",
            "0.0: 1.0",
        ]
    )


def test_each_mutant_is_a_program_of_its_own_and_none_is_the_source():
    texts = [mutant.text for mutant in mutants_of("m", SOURCE)]
    assert len(set(texts)) == len(texts)
    assert ast.unparse(ast.parse(SOURCE)) not in texts


def test_the_modules_that_are_mutated_are_there():
    assert all("def " in unchanged(module).text for module in (*MODULES, *ELSEWHERE))


def test_a_sample_is_the_same_for_one_seed_and_another_for_another():
    one, again, other = (sample(MODULES, 30, seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert len(set(map(str, one))) > 25


def test_printed_survivors_are_found_again_unless_the_module_has_changed():
    chosen = sample(("gate",), 2, 0)
    found = printed("".join(f"alive: {mutant}\n" for mutant in chosen) + "hung: gate.py line 1: x\nclaim  value\n")
    assert {str(mutant) for mutant in found} == {str(mutant) for mutant in chosen}
    with pytest.raises(ValueError, match=r"no mutant 'gate\.py line 1: x'"):
        printed("alive: gate.py line 1: x\n")

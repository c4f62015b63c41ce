"""Mutants are single changes of a module, each of them another program."""

from __future__ import annotations

import ast

from benchmarks.mutation import MODULES, mutants_of, unchanged

SOURCE = '''
def share(x):
    """Not 1 of these words."""
    if not x.any():
        return 0.5
    return x.sum() / 2 if len(x) > 3 else -x.max()
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
            "-x.max(): UAdd",
            "x.max: min",
        ]
    )


def test_each_mutant_is_a_program_of_its_own_and_none_is_the_source():
    texts = [mutant.text for mutant in mutants_of("m", SOURCE)]
    assert len(set(texts)) == len(texts)
    assert ast.unparse(ast.parse(SOURCE)) not in texts


def test_the_modules_that_are_mutated_are_there():
    assert all("def " in unchanged(module).text for module in MODULES)

"""The library answers every problem as it did when the record was made; see `record.py`
for a table.
"""

import copy
import math

import pytest

from golden.problems import PROBLEMS
from golden.record import ENTRIES, compare, places, read, summarise

RECORD = read()


def distance(name, quantities):
    """How far quantities are from the record, in words; empty where they are near
    enough.
    """
    worst = compare(PROBLEMS[name], RECORD[name]["quantities"], quantities)
    return f"{name}, {worst.quantity}: {worst.words}" if worst.bad else ""


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_answer_is_the_one_recorded(name):
    found = distance(name, summarise(PROBLEMS[name], PROBLEMS[name].ask()))
    assert not found, found


def test_every_problem_is_recorded_and_no_other():
    assert list(RECORD) == list(PROBLEMS)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_change_of_a_millionth_or_of_a_word_is_seen(name):
    """A millionth, or ten times what is allowed where that is more, is added to an
    entry of any array.
    """
    kept = RECORD[name]["quantities"]
    assert not distance(name, kept)
    for quantity, old in kept.items():
        wrong = copy.deepcopy(kept)
        if isinstance(old, str):
            wrong[quantity] = old + "!"
        else:
            change = max(1e-6, 10 * PROBLEMS[name].allowed(quantity)) * (
                old["norms"][2] or 1.0
            )
            first = wrong[quantity]["entries"][0]
            real, *rest = first if isinstance(first, list) else [first]
            real = real + change if math.isfinite(real) else 0.0
            wrong[quantity]["entries"][0] = [real, *rest] if rest else real
        assert quantity in distance(name, wrong)
        del wrong[quantity]
        assert "missing" in distance(name, wrong)


def test_entries_are_kept_at_the_same_places():
    assert len(places("a", 1000)) == ENTRIES
    assert places("a", 1000).tolist() == places("a", 1000).tolist()
    assert places("a", 1000).tolist() != places("b", 1000).tolist()

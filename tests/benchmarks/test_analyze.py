"""What the cost of an analysis is measured on."""

from __future__ import annotations

import torch

from benchmarks.analyze import fresh, measured_width, seconds_of_analysis, sites, statistics_of_width


def test_the_sites_of_base_are_three_a_block():
    assert sites() == {128: 3, 256: 3, 512: 27 + 2 * 3, 1024: 3 + 2 * 3, 2048: 2 * 27, 4096: 2 * 3}
    assert sum(sites().values()) == 3 * 36


def test_every_turn_starts_from_statistics_alone(monkeypatch):
    stats, counted, plain = statistics_of_width(140), [], torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda matrix: counted.append(len(matrix)) or plain(matrix))
    for turn in (1, 2):
        seconds_of_analysis(stats)
        assert counted.count(140) == 3 * turn
    assert torch.equal(fresh(stats).scatter, stats.scatter)


def test_both_sides_are_timed_of_real_work():
    whole, bare = measured_width(32, 1)
    assert whole > bare > 0

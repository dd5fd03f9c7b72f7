"""Runs that were never made: samples with the noise of a real machine, and rows of every kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from camzoo.timing.samples import Case, Counts, Outcome, Row, Run, Sample

PROCESSES, ROUNDS = 3, 15
BETWEEN, WITHIN = 0.01, 0.03
"""Standard deviations, as shares: of processes of one row, and of the rounds of one process."""
ENVIRONMENT = {
    "date": "2026-01-02T03:04:05+00:00",
    "platform": "Linux-6.1-x86_64",
    "cores": 2,
    "threads": 2,
    "device": "cpu",
    "versions": {"camzoo": "0.1.0", "torch": "9.9"},
    "load_before": [0.1, 0.2, 0.3],
}


def samples(
    cost: float,
    generator: np.random.Generator,
    processes: int = PROCESSES,
    rounds: int = ROUNDS,
    between: float = BETWEEN,
    within: float = WITHIN,
    forward: float = 0.05,
) -> tuple[Sample, ...]:
    """Calls that cost so many forward passes; one in twenty is disturbed, and slower by half."""
    found = []
    for process in range(processes):
        away = generator.normal(0, between)
        for number in range(rounds):
            noise = away + generator.normal(0, within) + (0.4 if generator.random() < 0.05 else 0)
            beside = forward * np.exp(generator.normal(0, within))  # a machine that is slower is so for both
            found.append(Sample(process, number, float(cost * beside * np.exp(noise)), (float(beside),) * 2))
    return tuple(found)


def row(contender: str = "gradcam", cost: float = 1.1, case: Case | None = None, seed: int = 0, **changes) -> Row:
    """A row that is ranked, but for what is changed in it."""
    method, _, backend = contender.partition("@")
    noise = {key: changes.pop(key) for key in ("processes", "rounds", "between", "within", "forward") if key in changes}
    made = Row(
        case=case or Case("resnet50", weights="random"),
        contender=contender,
        method=method.partition("(")[0],
        backend=backend or "camzoo",
        outcome=Outcome.OK,
        verdict="agrees",
        first=(0.3,) * noise.get("processes", PROCESSES),
        warmups=(6,) * noise.get("processes", PROCESSES),
        alike=(True,) * noise.get("processes", PROCESSES),
        samples=samples(cost, np.random.default_rng(seed), **noise),
        counts=Counts(1, 1, 1, 1, 0, 600_000, 8_000_000_000, 8_000_000_000),
        peak_bytes=30_000_000,
        forward_peak_bytes=25_000_000,
        distance=2e-7,
        reference="camzoo's gradcam in float64",
    )
    return replace(made, **changes)


def failed(contender: str, outcome: Outcome, reason: str = "", case: Case | None = None) -> Row:
    """A row without a sample."""
    made = row(contender, case=case)
    bare = {"verdict": "", "first": (), "warmups": (), "alike": (), "samples": (), "counts": None, "peak_bytes": None}
    return replace(made, outcome=outcome, reason=reason, distance=None, reference="", **bare)


def run(*rows: Row, **changes) -> Run:
    """A run of these rows."""
    return replace(Run(tuple(rows), "camzoo bench --model resnet50", ENVIRONMENT), **changes)

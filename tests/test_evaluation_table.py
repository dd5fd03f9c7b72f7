"""The metrics by name, and the names of rows that hold a part of one."""

from __future__ import annotations

import pytest
import torch

from camzoo.errors import NotOffered
from camzoo.evaluation import table
from camzoo.evaluation.table import Batch, Judged, Metric


@pytest.fixture
def judged():
    """Two maps without boxes."""
    images = torch.zeros(2, 3, 8, 8)
    batch = Batch(images, torch.ones(2), lambda *_: images, ((), ()), torch.zeros(2, 8, 8).bool(), torch.zeros(2))
    return Judged(batch, torch.rand(2, 8, 8), lambda *_: images, lambda: images)


def test_names_of_rows():
    row = table.row_of("max-box-acc", "0.05")
    assert (table.metric_of(row), table.part_of(row)) == ("max-box-acc", "0.05")
    assert (table.metric_of("energy"), table.part_of("energy")) == ("energy", "")
    assert all(table.PART not in metric.name for metric in table.TABLE)  # else a metric would be taken for a part


def test_a_metric_with_parts_has_a_row_for_each_and_another_one_row():
    values = {name: torch.zeros(1) for name in ("a", "b@1", "b@2", "c@1")}
    assert list(Metric("a", dict, 1).rows(values)) == ["a"]
    assert list(Metric("b", dict, 1, parts=True).rows(values)) == ["b@1", "b@2"]
    with pytest.raises(KeyError):
        Metric("b", dict, 1).rows(values)


def test_only_metrics_of_thresholds_have_fits_and_what_has_parts_is_not_fast():
    assert [metric.name for metric in table.TABLE if metric.fits] == ["max-box-acc", "max-box-acc-v2"]
    assert [metric.name for metric in table.TABLE if metric.parts] == [
        "max-box-acc",
        "max-box-acc-v2",
        "randomisation",
    ]
    assert not any(metric.fast for metric in table.TABLE if metric.parts)
    assert all(metric.better == 1 and metric.chance for metric in table.TABLE if metric.fits)
    assert all(tuple(sorted(metric.fits)) == metric.fits for metric in table.TABLE)  # as `curves` reads chance from it


def test_both_box_accuracies_are_computed_together(judged):
    names = [table.find(name) for name in ("max-box-acc", "max-box-acc-v2")]
    one, other = (judged.values(metric.compute) for metric in names)
    assert one is other
    assert all(values.isnan().all() for values in one.values())  # without a box
    assert sum(len(metric.rows(one)) for metric in names) == len(one) == 2 * len(table.BOX_THRESHOLDS)


def test_without_a_model_to_randomise_that_is_told(judged):
    with pytest.raises(NotOffered, match="camzoo evaluate"):
        judged.values(table.find("randomisation").compute)

"""The table of scenarios: every name in it exists, and what is asked together is what is asked one by one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

from camzoo.explaining import explain

pytestmark = pytest.mark.checkout
FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def table():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.syspath_prepend(str(FOLDER.parent))
        patch.chdir(FOLDER.parent)
        yield importlib.import_module("scenarios")
        for name in ("scenarios", "benchmarks.together"):
            sys.modules.pop(name, None)


def test_every_scenario_can_be_asked_for(table) -> None:
    for scenario in table.TABLE.values():
        for device in scenario.devices:
            asked = table.request(scenario, device)
            assert {case.device for case in asked.cases} == {device}
            assert {case.weights for case in asked.cases} == {"random"}
            assert len(asked.names) == len(set(asked.names)) > 0


def test_the_five_models_and_both_scopes_are_in_it(table) -> None:
    models = [case.model for case in table.TABLE["models"].cases]
    assert models == ["resnet50", "vgg16", "densenet121", "efficientnet_b0", "vit_b_16"]
    assert {table.TABLE[name].cases[0].scope for name in ("models", "map")} == {"array", "map"}


def test_what_varies_has_a_size(table) -> None:
    for scenario in table.TABLE.values():
        if scenario.along.get("along") == "layer":
            assert {case.layer for case in scenario.cases} == set(scenario.along["sizes"])
        if scenario.along.get("along") == "contender":
            assert {name.partition("=")[0] for name in scenario.own} == set(scenario.along["sizes"])


@pytest.mark.parametrize("name", ["together_1", "together_8", "apart_2"])
def test_together_and_apart_give_the_maps_of_gradcam(table, small_net, images, name) -> None:
    together = importlib.import_module("benchmarks.together")
    found = getattr(together, name)(small_net, small_net.last_act, images, [0, 1, 2])
    wanted = explain(small_net, images, "gradcam", layer="last_act", target=[0, 1, 2], stage="rectified")
    torch.testing.assert_close(found, wanted.values, rtol=1e-6, atol=1e-9)


def test_a_result_is_a_page(table, tmp_path, monkeypatch) -> None:
    from synthetic import ENVIRONMENT, row, run

    from camzoo.timing import record

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        performance = importlib.import_module("performance")
        patch.setattr(performance, "RESULTS", tmp_path)
        patch.setattr(performance, "DOCS", tmp_path)
        patch.setattr(performance, "FIGURES", tmp_path / "performance")
        first = table.TABLE["models"].cases[0]
        told = table.told(run(row(case=first), environment=ENVIRONMENT), "models", table.TABLE["models"])
        record.save(told, tmp_path / "models-cpu.json")
        performance.main()
    text = (tmp_path / "performance.md").read_text()
    assert "## Methods of one or a few passes, on five models: cpu" in text
    assert "![cost, array](performance/models-cpu-cost-array.png)" in text
    assert (tmp_path / "performance" / "models-cpu-cost-array.png").read_bytes().startswith(b"\x89PNG")
    sys.modules.pop("performance", None)

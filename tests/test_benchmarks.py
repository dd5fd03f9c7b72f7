"""The table of scenarios: every name in it exists, and what is asked together is what is asked one by one."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from camzoo.explaining import explain
from camzoo.timing import clock, conditions

pytestmark = pytest.mark.checkout
FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def table():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.syspath_prepend(str(FOLDER.parent))
        patch.chdir(FOLDER.parent)
        yield importlib.import_module("scenarios")
        for name in ("scenarios", "benchmarks.together", "benchmarks.autocast", "cost", "tried", "memory_format"):
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


def test_scorecam_is_held_to_its_rival_in_the_same_precision_and_with_autocast(table, small_net, images) -> None:
    names = table.request(table.TABLE["many-passes"], "cuda").names
    assert {"scorecam", "scorecam@pytorch-grad-cam", table.AUTOCAST} <= set(names)
    found = importlib.import_module("benchmarks.autocast").scorecam(small_net, small_net.last_act, images, [0, 1, 2])
    asked = {"layer": "last_act", "target": [0, 1, 2], "stage": "rectified"}
    torch.testing.assert_close(found, explain(small_net, images, "scorecam", amp=torch.bfloat16, **asked).values)
    assert not torch.equal(found, explain(small_net, images, "scorecam", **asked).values)


@pytest.mark.parametrize("name", ["together_1", "together_8", "apart_2"])
def test_together_and_apart_give_the_maps_of_gradcam(table, small_net, images, name) -> None:
    together = importlib.import_module("benchmarks.together")
    found = getattr(together, name)(small_net, small_net.last_act, images, [0, 1, 2])
    wanted = explain(small_net, images, "gradcam", layer="last_act", target=[0, 1, 2], stage="rectified")
    torch.testing.assert_close(found, wanted.values, rtol=1e-6, atol=1e-9)


def test_what_was_measured_before_an_interruption_is_kept(table, tmp_path, monkeypatch, capsys) -> None:
    from synthetic import row, run

    from camzoo.timing import record

    case = table.TABLE["models"].cases[0]
    here = conditions.fixed(torch.device("cpu"))
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    monkeypatch.setattr(table, "measure", lambda name, device, again: measured.append(name))
    record.save(run(row(case=case), environment=here), tmp_path / "models-cpu.json")
    record.save(run(row(case=case), environment=here | {"commit": "another"}), tmp_path / "map-cpu.json")
    record.save(replace(run(row(case=case), environment=here), finished=False), tmp_path / "others-cpu.json")
    (tmp_path / "batch-cpu.json").write_text("{}")
    every = [name for name, scenario in table.TABLE.items() if "cpu" in scenario.devices]

    measured: list[str] = []
    monkeypatch.setattr(sys, "argv", ["scenarios"])
    table.main()
    assert measured == every[1:]
    assert "models-cpu.json, which is of this code and machine" in capsys.readouterr().out

    measured.clear()
    monkeypatch.setattr(sys, "argv", ["scenarios", "--only", "models"])  # asked for by its name
    table.main()
    assert measured == ["models"]


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
        (tmp_path / "evaluation-cpu.json").write_text(json.dumps(evaluation([2**20] * 3)))
        performance.main()
    text = (tmp_path / "performance.md").read_text()
    assert "## Methods of one or a few passes, on five models: cpu" in text
    assert "![cost, array](performance/models-cpu-cost-array.png)" in text
    assert (tmp_path / "performance" / "models-cpu-cost-array.png").read_bytes().startswith(b"\x89PNG")
    assert "## An evaluation over a data set: cpu (a CPU)" in text
    assert "![memory and cost along an evaluation](performance/evaluation-cpu.png)" in text
    assert (tmp_path / "performance" / "evaluation-cpu.png").read_bytes().startswith(b"\x89PNG")
    for name in ("performance", "evaluated"):
        sys.modules.pop(name, None)


def test_an_adapter_adds_no_work_of_the_model_to_a_plain_call_of_its_library(table) -> None:
    adapters = importlib.import_module("adapters")
    problem = adapters.posed("small net")
    copied = problem.images.nbytes
    for method, library in adapters.PLAIN:
        plain, adapter = adapters.counted(problem, method, library).values()
        named = f"{method}@{library}"
        added = {
            name: getattr(adapter, name) - getattr(plain, name)
            for name in ("forwards", "images", "tail_rows", "backwards", "flops", "synchronisations")
        }
        added["synchronisations"] -= library == "torchcam"  # whether the scores are finite, asked at the very end
        assert not any(added.values()), (named, added)
        assert plain.flops > problem.images.numel(), named
        assert adapter.copied_bytes - plain.copied_bytes <= copied, named


EMPTIED = {
    "cost": ("cost-cpu", "CASES"),
    "tried": ("tried-cpu", "TRIALS"),
    "memory_format": ("memory-format-cpu", "MODELS"),
    "adapters": ("adapters-cpu", "NETS"),
}


@pytest.mark.parametrize("name", EMPTIED)
def test_a_result_says_on_what_machine_and_code_it_was_made(table, tmp_path, monkeypatch, name) -> None:
    script, (file, work) = importlib.import_module(name), EMPTIED[name]
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    monkeypatch.setattr(script, work, ())
    monkeypatch.setattr(script, "memory", lambda _device: {"name": "memory", "share": 0.05}, raising=False)
    monkeypatch.setattr(sys, "argv", [name])
    script.main()
    around = json.loads((tmp_path / f"{file}.json").read_text())["environment"]
    cpu = torch.device("cpu")
    assert around.keys() == {*conditions.fixed(cpu), "before", "after"}
    assert around["before"].keys() == around["after"].keys() == conditions.now(cpu).keys()


def test_the_cost_of_a_call_is_taken_once_it_is_steady(table, monkeypatch) -> None:
    cost = importlib.import_module("cost")
    done = []
    monkeypatch.setitem(cost.CALLS, "gradcam", lambda *_: done.append("call"))
    monkeypatch.setattr(clock, "steady", lambda call: [done.append("warm"), call()])
    case = cost.Case("a", "squeezenet1_1", "features", "gradcam", 1.0)
    (row,) = cost.measure([case], 2, torch.device("cpu"))
    assert done == ["warm", "call", "call", "call"]
    assert len(row["seconds"]) == 2


def test_what_a_graph_would_replay_is_the_map_of_gradcam(table) -> None:
    tried = importlib.import_module("tried")
    model, image = tried.network("resnet18", torch.device("cpu")), tried.photos(1, torch.device("cpu"), 64)
    found = tried.bare_gradcam(model, image)()
    wanted = explain(model, image, "gradcam", layer="layer4", target=7, stage="raw").values
    torch.testing.assert_close(found, wanted)
    assert not found.requires_grad


def test_a_graph_is_tried_on_a_gpu_alone(table, monkeypatch, capsys) -> None:
    tried = importlib.import_module("tried")
    monkeypatch.setattr(sys, "argv", ["tried", "--only", "CUDA graph"])
    monkeypatch.setattr(tried, "measure", lambda trial, *_: pytest.fail(f"{trial.name} on a CPU"))
    tried.main()
    assert not capsys.readouterr().out
    (graph,) = [trial for trial in tried.TRIALS if "CUDA graph" in trial.name]
    assert graph.devices == ("cuda",)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_replays_the_map_of_gradcam(table) -> None:
    today, idea = importlib.import_module("tried").captured(torch.device("cuda"))
    for _ in range(2):
        torch.testing.assert_close(idea(), today().values, rtol=1e-3, atol=1e-6)


def stretch(seconds: float) -> dict:
    return {"contiguous": [2 * seconds, 2 * seconds], "as laid out here": [seconds, seconds]}


def evaluation(resident: list[int]) -> dict:
    """Three batches of 50 images that need 100 passes each, at 0.1 s a pass where a plain one takes 0.08 s."""
    batch = {"images": 50, "seconds": 10.0, "passed": 100}
    return {
        "command": "python benchmarks/evaluation.py",
        "environment": {
            "cpu": "a CPU",
            "device": "cpu",
            "threads": 2,
            "versions": {"torch": "2"},
            "before": {"load": [0.1, 0, 0]},
            "after": {"load": [2.0, 0, 0]},
        },
        "question": {
            "model": "net",
            "pixels": [32, 32],
            "methods": ["gradcam"],
            "controls": ["random"],
            "metrics": ["energy"],
            "images": 150,
            "batch": 50,
            "workers": 2,
        },
        "batches": [batch | {"resident_bytes": [each, 2**20]} for each in resident],
        "forwards": [{"after": after, "images": 50, "seconds": stretch(4.0)} for after in (1, 2, 3)],
    }


def test_the_cost_of_an_evaluation_is_over_the_plain_passes_beside_it() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        evaluated = importlib.import_module("evaluated")
    result = evaluation([9 * 2**20, 9 * 2**20, 10 * 2**20])
    found = evaluated.read(result)
    assert found.cost["as laid out here"] == pytest.approx([1.25, 1.25])
    assert found.cost["contiguous"] == pytest.approx([0.625, 0.625])
    assert (found.forwards, found.seconds, found.middles) == (2, 0.2, [75, 125])
    assert found.steady == pytest.approx([10 / 10.5, 11 / 10.5])
    text = evaluated.section(result, "evaluation.json", "evaluation.png")
    assert "| cost over these passes | 1.25 [1.25, 1.25] |" in text
    assert "| its least and most, over the median | 0.952 to 1.048 |" in text
    assert len(evaluated.figure(result).axes) == 2
    sys.modules.pop("evaluated", None)

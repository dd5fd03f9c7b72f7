"""Under what conditions a benchmark was run."""

from __future__ import annotations

import datetime
import json
import subprocess

import pytest
import torch

from camzoo.timing import conditions

CPU = torch.device("cpu")


def test_everything_is_plain_json():
    json.dumps([conditions.fixed(CPU), conditions.now(CPU)], allow_nan=False)


def test_what_stays_is_the_same_twice():
    first, again = ({**conditions.fixed(CPU), "date": ""} for _ in range(2))
    assert first == again
    assert first["flags"]["deterministic"] is False
    assert first["threads"] == torch.get_num_threads()
    assert first["garbage collection"]
    assert first["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]


def test_flags_are_read_when_they_are_asked(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    assert conditions.flags()["cudnn.benchmark"] is True


def test_the_cpu_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(conditions, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast 3000: the chip\nmodel name\t: other\n")
    assert conditions.cpu() == "Fast 3000: the chip"
    (tmp_path / "cpuinfo").unlink()
    assert conditions.cpu()


def test_what_changes_is_the_time_the_load_and_the_state_of_a_gpu(monkeypatch):
    monkeypatch.setattr(conditions.os, "getloadavg", lambda: (0.5, 0.25, 0.125))
    found = conditions.now(CPU)
    assert found.keys() == {"date", "load", "gpu"}
    assert (found["load"], found["gpu"]) == ([0.5, 0.25, 0.125], {})
    taken = datetime.datetime.fromisoformat(found["date"])
    assert abs(datetime.datetime.now(datetime.UTC) - taken) < datetime.timedelta(minutes=1)
    monkeypatch.delattr(conditions.os, "getloadavg")  # as on Windows
    assert conditions.now(CPU)["load"] == []


class Properties:
    uuid = "1234"


TOLD = {
    "name": "NVIDIA H200",
    "driver_version": "580.1",
    "power.limit": "700.00 W",
    "clocks.sm": "1980 MHz",
    "clocks.mem": "3201 MHz",
    "temperature.gpu": "41",
    "power.draw": "120.50 W",
    "clocks_throttle_reasons.active": "0x0000000000000001",
}


@pytest.fixture
def asked(monkeypatch):
    """A machine with a GPU, whose nvidia-smi is asked in vain for a field that it does not know."""
    commands = []

    def run(command, **_options):
        commands.append(command)
        (names,) = [word.removeprefix("--query-gpu=") for word in command if word.startswith("--query-gpu=")]
        unknown = [name for name in names.split(",") if name not in TOLD]
        if unknown:
            said = f'Field "{unknown[0]}" is not a valid field to query.\n'
            raise subprocess.CalledProcessError(2, command, said, "")
        below = ", ".join(TOLD[name] for name in names.split(","))
        return subprocess.CompletedProcess(command, 0, f"{names}\n{below}\n", "")

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: Properties)
    monkeypatch.setattr(conditions.shutil, "which", lambda name: name)
    monkeypatch.setattr(conditions.subprocess, "run", run)
    return commands


def test_the_gpu_is_asked_by_its_own_name(asked):
    found = conditions._nvidia(conditions.GPU, torch.device("cuda"))
    assert found == {"name": "NVIDIA H200", "driver_version": "580.1", "power.limit": "700.00 W"}
    assert all("--id=GPU-1234" in command for command in asked)


def test_the_state_of_the_gpu_is_told_field_by_field(asked):
    found = conditions.now(torch.device("cuda"))["gpu"]
    assert found == {name: TOLD[name] for name in conditions.GPU_NOW}


def test_a_field_that_is_refused_does_not_take_the_others_along(asked, monkeypatch):
    monkeypatch.delitem(TOLD, "clocks_throttle_reasons.active")
    found = conditions.now(torch.device("cuda"))["gpu"]
    assert found.pop("clocks_throttle_reasons.active") == "not told by nvidia-smi"
    assert found == {name: TOLD[name] for name in conditions.GPU_NOW if name in TOLD}
    assert len(found) == 4


def test_where_a_program_is_not_there_or_fails_nothing_is_made_up(monkeypatch):
    assert conditions._said("no-such-program-anywhere") == ""
    assert conditions._said("false") == ""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: Properties)
    monkeypatch.setattr(conditions, "_said", lambda *_: "No devices were found")
    assert set(conditions._nvidia(conditions.GPU, torch.device("cuda")).values()) == {"not told by nvidia-smi"}
    monkeypatch.setattr(conditions, "_said", lambda *_: "")
    found = conditions._nvidia(conditions.GPU, torch.device("cuda"))
    assert found == dict.fromkeys(conditions.GPU, "not told by nvidia-smi")
    assert conditions._nvidia(conditions.GPU, CPU) == {}


def test_changed_code_has_a_digest_of_its_own(monkeypatch):
    said = {"describe": "abc1234", "diff": "-old\n+new"}
    monkeypatch.setattr(conditions, "_said", lambda *words: next(said[word] for word in words if word in said))
    monkeypatch.setattr(conditions.Path, "exists", lambda _path: True)
    first = conditions.commit()
    assert first.startswith("abc1234-dirty-")
    said["diff"] = "-old\n+newer"
    assert conditions.commit() != first
    said["diff"] = ""  # what was changed is not measured
    assert conditions.commit() == "abc1234"


def test_without_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(conditions, "__file__", str(tmp_path / "camzoo" / "timing" / "conditions.py"))
    assert conditions.commit() == ""

"""Under what conditions a benchmark was run."""

from __future__ import annotations

import json
import subprocess

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
    assert first["versions"]["torch"] == torch.__version__.partition("+")[0] or first["versions"]["torch"]


def test_flags_are_read_when_they_are_asked(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    assert conditions.flags()["cudnn.benchmark"] is True


def test_the_cpu_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(conditions, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast 3000: the chip\nmodel name\t: other\n")
    assert conditions.cpu() == "Fast 3000: the chip"
    (tmp_path / "cpuinfo").unlink()
    assert conditions.cpu()


class Properties:
    uuid = "1234"


def test_the_gpu_is_asked_by_its_own_name(monkeypatch):
    asked = []

    def run(command, **_options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "NVIDIA H200, 580.1, 700.00 W\n", "")

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: Properties)
    monkeypatch.setattr(conditions.shutil, "which", lambda name: name)
    monkeypatch.setattr(conditions.subprocess, "run", run)
    found = conditions._nvidia(conditions.GPU, torch.device("cuda"))
    assert found == {"name": "NVIDIA H200", "driver_version": "580.1", "power.limit": "700.00 W"}
    assert "--id=GPU-1234" in asked[0]


def test_where_a_program_is_not_there_or_fails_nothing_is_made_up(monkeypatch):
    assert conditions._said("no-such-program-anywhere") == ""
    assert conditions._said("false") == ""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: Properties)
    monkeypatch.setattr(conditions, "_said", lambda *_: "No devices were found")
    assert conditions._nvidia(conditions.GPU, torch.device("cuda")) == {}
    assert conditions._nvidia(conditions.GPU, CPU) == {}


def test_changed_code_has_a_digest_of_its_own(monkeypatch):
    said = {"describe": "abc1234-dirty", "diff": "-old\n+new"}
    monkeypatch.setattr(conditions, "_said", lambda *words: next(said[word] for word in words if word in said))
    monkeypatch.setattr(conditions.Path, "exists", lambda _path: True)
    first = conditions.commit()
    assert first.startswith("abc1234-dirty-")
    said["diff"] = "-old\n+newer"
    assert conditions.commit() != first
    said["diff"] = ""  # what was changed is not measured
    assert conditions.commit() == "abc1234-dirty"
    said["describe"] = "abc1234"
    assert conditions.commit() == "abc1234"


def test_without_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(conditions, "__file__", str(tmp_path / "camzoo" / "timing" / "conditions.py"))
    assert conditions.commit() == ""

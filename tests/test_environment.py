"""What a result was made with."""

from __future__ import annotations

import getpass
import json
import socket
from datetime import datetime, timedelta
from importlib import metadata

import torch

from camzoo.environment import environment


def test_versions_are_those_that_are_installed() -> None:
    found = environment(torch.device("cpu"))
    assert found["versions"]["torch"] == metadata.version("torch")
    assert {"camzoo", "torch", "torchvision", "numpy"} <= set(found["versions"])
    assert found["device"] == "cpu"
    assert found["threads"] == torch.get_num_threads()


def test_what_is_absent_is_left_out(monkeypatch) -> None:
    installed = metadata.version

    def version(name):
        if name == "captum":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    assert "captum" not in environment(torch.device("cpu"))["versions"]


def test_it_is_plain_json_with_the_time_in_utc_and_no_name_of_host_or_user() -> None:
    text = json.dumps(environment(torch.device("cpu")), allow_nan=False)
    date = datetime.fromisoformat(json.loads(text)["date"])
    assert date.utcoffset() == timedelta(0)
    assert f'"{socket.gethostname()}"' not in text
    assert f'"{getpass.getuser()}"' not in text

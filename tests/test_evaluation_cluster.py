"""The run over a cluster of two machines: what is kept is what is kept here, whoever dies on the way.

Ray runs in processes of its own: beside other tests it would fork a process that has threads.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import drawings
import pytest
import torch
from conftest import require

from camzoo import cli, specs
from camzoo.cli import evaluate as _verb  # noqa: F401 (joins the application)
from camzoo.errors import NotInstalled, RequestError
from camzoo.evaluation import cluster, files, local, opening, table
from camzoo.evaluation.batch import CONTROLS, Question

COUNT, SIZE = 22, 4
HERE = Path(__file__).parent
WARNINGS = ["-W", "error", "-W", "ignore::DeprecationWarning:ray.data.context"]  # it warns of its own defaults
MACHINES = """
import sys
from ray.cluster_utils import Cluster

machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
machines.add_node(num_cpus=1)
print(machines.address, flush=True)
sys.stdin.read()
machines.shutdown()
"""


# ---- what runs in a process of its own


class Abroad(drawings.ShapeNet):
    """Knows when it is in another process than where it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.home = os.getpid()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if os.getpid() != self.home:
            self.abroad()
        return super().forward(images)


class Deadly(Abroad):
    """As long as the mark is there, the worker that has gone so far is killed, and the mark is gone."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self.mark, self.passes = mark, 0

    def abroad(self) -> None:
        self.passes += 1
        if self.passes == 12 and self.mark.exists():  # in the second batch
            self.mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


class Large(Abroad):
    """More than fits in a worker."""

    def abroad(self) -> None:
        raise torch.OutOfMemoryError("out of memory")


def evaluate(place: Path, net: torch.nn.Module, out: str, **changes) -> None:
    net.load_state_dict(torch.load(place / "net.pt"))
    data = opening.open_data(place / "set" / "shapes.csv")
    methods = tuple(specs.expand(["gradcam", *CONTROLS]))
    question = Question(net.eval(), "last", methods, table.expand("average-drop,energy"))
    given = {"identity": {}, "size": SIZE, "workers": 2, "over": cluster.spread} | changes
    local.run(question, data, drawings.SEEN, drawings.LABELS, place / out, **given)


def spread(place: Path) -> None:
    """With one worker killed in the middle, and with a batch that no worker can evaluate."""
    with cluster.connected(torch.device("cpu")):
        evaluate(place, Deadly(place / "mark"), "spread", progress=lambda *done: print(*done, flush=True))
        with pytest.raises(RequestError) as error:
            evaluate(place, Large(), "large", workers=1)
        print(error.value, flush=True)


# ---- the tests


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A working directory with a data set, one photo of which is damaged, the weights of a net, and a run made here."""
    require("pyarrow.parquet")
    found = tmp_path_factory.mktemp("cluster")
    drawings.as_table(found / "set", COUNT)
    (found / "set" / "005.png").write_bytes(b"\x89PNG damaged")
    torch.save(drawings.trained().state_dict(), found / "net.pt")
    evaluate(found, drawings.ShapeNet(), "local", workers=0, over=local.here)
    return found


@pytest.fixture(scope="module")
def machines(place):
    """The environment of a process that finds a cluster of two machines with one CPU each."""
    require("ray.data")
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", MACHINES]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as running:
        yield environment | {"RAY_ADDRESS": running.stdout.readline().strip()}
        running.stdin.close()


def called(command: list[str], place: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Exit code, what was printed, and what was complained of beside progress and Ray's word that it is quiet."""
    ended = subprocess.run(
        [sys.executable, *WARNINGS, *command],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    told = re.compile(rf"\[.*Set ray log level.*\n|\d+ of {COUNT} images\n")
    return ended.returncode, ended.stdout, told.sub("", ended.stderr)


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / files.PARTS).iterdir()}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_a_killed_worker_is_replaced_and_nothing_differs(place, machines):
    (place / "mark").touch()
    script = "import sys, pathlib, test_evaluation_cluster as here; here.spread(pathlib.Path(sys.argv[1]))"
    code, out, err = called(["-c", script, str(place)], place, machines)
    assert (code, err) == (0, "")
    assert not (place / "mark").exists()  # it was killed
    assert "4 images at a time are more than fits: ask for fewer with --batch" in out.splitlines()
    assert sorted(map(int, re.findall(rf"(?m)^(\d+) {COUNT}$", out)))[-1] == COUNT
    assert parts(place / "spread") == parts(place / "local")
    assert parts(place / "large") == {}


@pytest.mark.slow
def test_a_run_that_was_begun_here_goes_on_there(place, machines, monkeypatch):
    """The command line from end to end."""
    asked = ["evaluate", "set/shapes.csv", "--model", "drawings:ShapeNet", "--weights", "net.pt"]
    asked += ["--layer", "last", "--methods", "gradcam", "--metrics", "energy", "--batch", "4"]
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["camzoo", *asked, "--out", "begun", "--workers", "0"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    whole = parts(place / "begun")
    for number in (1, 4, 5):
        files.part(place / "begun", number).unlink()
    asked += ["--out", "begun", "--resume", "--executor", "ray", "--workers", "1"]
    code, out, err = called(["-m", "camzoo", *asked], place, machines)
    assert (code, err) == (0, "")
    assert out.startswith("wrote\n")
    assert parts(place / "begun") == whole


def test_where_nothing_is_missing_no_cluster_is_needed(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    evaluate(place, drawings.ShapeNet(), "local", resume=True)


def test_without_ray(place, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(place)
    asked = ["evaluate", "set/shapes.csv", "--model", "drawings:ShapeNet", "--layer", "last", "--executor", "ray"]
    monkeypatch.setattr(sys, "argv", ["camzoo", *asked, "--weights", "net.pt"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capfd.readouterr() == ("", "camzoo: --executor ray needs Ray Data: pip install 'camzoo[ray]'\n")
    assert not (place / "camzoo-evaluation").exists()
    with pytest.raises(NotInstalled):
        cluster.engine()


@pytest.mark.parametrize(
    ("device", "sizes", "why"),
    [
        ("cpu", [{"CPU": 4.0}, {"CPU": 8.0}], None),
        ("cpu", [{"CPU": 4.0}, {"CPU": 6.0}], "as many threads as torch has here, 8, .* more than 6 CPUs"),
        ("cpu", [], "set OMP_NUM_THREADS=1"),
        ("cuda", [{"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0}], None),
        ("cuda", [{"CPU": 64.0}], "no machine of the cluster has a GPU"),
    ],
)
def test_a_cluster_without_room_for_a_worker_is_refused(monkeypatch, device, sizes, why):
    """Ray itself would wait for ever. A machine that is gone does not count, and a cluster of others is left alone."""
    nodes = [{"Alive": True, "Resources": size} for size in sizes]
    gone = {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0}}
    stub = SimpleNamespace(is_initialized=lambda: True, nodes=lambda: [*nodes, gone])
    monkeypatch.setattr(cluster, "engine", lambda: stub)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    with (
        nullcontext() if why is None else pytest.raises(RequestError, match=why),
        cluster.connected(torch.device(device)) as joined,
    ):
        assert joined is stub


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_an_address_where_nobody_answers_is_one_line(monkeypatch, address):
    monkeypatch.setattr(cluster, "engine", lambda: SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with (
        pytest.raises(RequestError, match=f"RAY_ADDRESS is {address}, and no cluster answers there"),
        cluster.connected(torch.device("cpu")),
    ):
        pass


def test_an_error_in_a_worker_comes_out_as_its_line(place):
    """Whether a module is missing on its machine, or the batch before it could not be loaded."""

    def missing() -> None:
        raise RequestError("a worker cannot read the model")

    with pytest.raises(RequestError, match="cannot read the model"):
        cluster._unpacked(cluster._packed(missing))
    assert cluster._unpacked(cluster._packed(lambda: [1])) == [1]


def test_a_worker_on_a_gpu_has_its_photos_loaded_by_others():
    assert cluster.resources(torch.device("cuda:1"), 8) == ({"num_cpus": 1}, {"num_cpus": 0, "num_gpus": 1})
    assert cluster.resources(torch.device("cpu"), 8) == ({"num_cpus": 8}, {"num_cpus": 8})

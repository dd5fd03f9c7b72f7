"""The evaluation on a cluster: Ray Data hands the same batches to workers on many machines.

What a worker runs for a batch is what this machine would run, `batch.evaluate`; a worker that dies is started again,
and its batch with it. The rows come back to this process, which alone writes them: so the workers need no folder in
common and no right to write, the parts are those of `files.keep`, and a run that is ended here leaves nobody writing.

The model and the list of images are sent once, as this process has them. The workers need camzoo, the package that the
model comes from, and the photos at the same paths; a photo that a worker cannot read is a row with the reason.
"""

from __future__ import annotations

import copy
import logging
import os
import pickle
import socket
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from camzoo.errors import NotInstalled, RequestError, one_line
from camzoo.evaluation import batch
from camzoo.evaluation.batch import Question, Record
from camzoo.evaluation.samples import Broken, Loading, Sample

ATTEMPTS = 4
"""How often a batch is begun whose workers die; Ray alone would go on for ever."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # or each worker of Ray Data prints that its own code is kept in the object store
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or a hint is printed about what will change one day
}
"""Set where the environment does not say otherwise."""


def engine() -> Any:
    """Ray, with Ray Data.

    Raises:
        NotInstalled: it is absent.
    """
    os.environ.update({key: os.environ.get(key, value) for key, value in QUIET.items()})
    try:
        import ray
        import ray.data
    except ModuleNotFoundError:
        raise NotInstalled("--executor ray needs Ray Data: pip install 'camzoo[ray]'") from None
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it logs as an error, it raises as well
    return ray


def spread(
    question: Question, loading: Loading, batches: Mapping[int, range], workers: int
) -> Generator[tuple[int, list[Record]], None, None]:
    """The rows of every batch, as they are done.

    A worker has a GPU where the model is on one, and photos are loaded by further processes; elsewhere it has as many
    CPUs as torch has threads here, so that a sum is taken in the same order, and loads them itself.

    Args:
        question: what is asked of every batch.
        loading: the images.
        batches: the images of each batch, by its number.
        workers: at a time, as far as the cluster has room for them.

    Yields:
        The number of a batch and its rows, in the order in which batches end.

    Raises:
        NotInstalled: Ray is absent.
        RequestError: no machine of the cluster is large enough, the model cannot be sent, a batch cannot be evaluated
            or ends every worker that is given it.
    """
    if not batches:
        return
    with connected(question.device) as ray:
        loads, evaluates = resources(question.device, torch.get_num_threads())
        asked, images = _sent(ray, replace(question, model=_on_cpu(question.model))), _sent(ray, loading)
        rows = [{"number": number, "start": each.start, "stop": each.stop} for number, each in batches.items()]
        found = ray.data.from_items(rows, override_num_blocks=len(rows))  # a block is what is lost and done again
        found.context.enable_progress_bars = found.context.print_on_execution_start = False
        found = found.map_batches(_load, batch_size=1, fn_args=(images,), **loads)
        found = found.map_batches(
            _Worker,
            batch_size=1,
            fn_constructor_args=(asked, _attempts(ray), question.device.type, torch.get_num_threads()),
            compute=ray.data.ActorPoolStrategy(size=max(1, workers)),
            **evaluates,
        )
        for row in found.iter_rows():
            yield row["number"], _unpacked(row["found"])


def resources(device: torch.device, threads: int) -> tuple[dict[str, int], dict[str, int]]:
    """What Ray sets aside for loading a batch and for evaluating it; where that is the same, one worker does both.

    Args:
        device: of the model.
        threads: of torch in this process.
    """
    if device.type == "cuda":
        return {"num_cpus": 1}, {"num_cpus": 0, "num_gpus": 1}
    return {"num_cpus": threads}, {"num_cpus": threads}


@contextmanager
def connected(device: torch.device) -> Iterator[Any]:
    """A cluster: the one that this process is in, the one that RAY_ADDRESS or `ray start` names, or one of our own.

    Args:
        device: of the model.

    Yields:
        Ray.

    Raises:
        NotInstalled: Ray is absent.
        RequestError: the cluster cannot be reached, or no machine of it is large enough for a worker.
    """
    ray = engine()
    ours = not ray.is_initialized()
    if ours:
        _check_address()
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RequestError(f"no cluster of Ray is reached: {one_line(error)}") from None
    try:
        _check_room(ray, resources(device, torch.get_num_threads())[1])
        yield ray
    finally:
        if ours:
            ray.shutdown()  # of a cluster that others began, only the connection


def _check_address() -> None:
    """Ray would ask for minutes whether somebody answers."""
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise RequestError(f"RAY_ADDRESS is {address}, and no cluster answers there: {one_line(error)}") from None


def _check_room(ray: Any, wanted: Mapping[str, int]) -> None:
    """Ray would wait for ever for a machine that is not there."""
    sizes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if wanted.get("num_gpus"):
        if not any(size.get("GPU", 0) >= 1 for size in sizes):
            raise RequestError("no machine of the cluster has a GPU, and the model is on one: try --device cpu")
        return
    most = max((int(size.get("CPU", 0)) for size in sizes), default=0)
    if most < wanted["num_cpus"]:
        raise RequestError(
            f"a worker computes with as many threads as torch has here, {wanted['num_cpus']}, and no machine of the "
            f"cluster has more than {most} CPUs: set OMP_NUM_THREADS={max(1, most)}"
        )


def _on_cpu(model: torch.nn.Module) -> torch.nn.Module:
    """The model as a machine without this one's devices can read it."""
    tensors = (*model.parameters(), *model.buffers())
    return model if all(each.device.type == "cpu" for each in tensors) else copy.deepcopy(model).to("cpu")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A value on its way to the workers, and where this process looks for modules and for photos named from here."""

    reference: Any
    modules: tuple[str, ...]
    folder: str


def _sent(ray: Any, value: object) -> _Sent:
    try:
        return _Sent(ray.put(value), tuple(map(os.path.abspath, sys.path)), os.getcwd())
    except Exception as error:  # whatever the pickling of somebody's model raises
        why = one_line(error.__cause__ or error)
        raise RequestError(f"the model or the data cannot be sent to another process: {why}") from None


@lru_cache(maxsize=2)
def _received(sent: _Sent) -> Any:
    """What was sent, read once in a process."""
    sys.path += [each for each in sent.modules if each not in sys.path]
    with suppress(OSError):  # a photo that is not there is told of in its row
        os.chdir(sent.folder)
    try:
        return engine().get(sent.reference)
    except Exception as error:  # whatever is missing on this machine
        raise RequestError(
            f"a worker cannot read the model or the data ({one_line(error)}): what they are made of has to be "
            "installed on every machine"
        ) from None


def _load(row: Mapping[str, Any], images: _Sent) -> dict[str, Any]:
    """The images of a batch."""

    def load() -> list[Sample | Broken]:
        loading = _received(images)
        return [loading[number] for number in range(row["start"][0], row["stop"][0])]

    return {"number": row["number"], "found": [_packed(load)]}


class _Worker:
    """A process of the cluster that evaluates batches."""

    def __init__(self, asked: _Sent, attempts: Any, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.asked, self.attempts, self.device = asked, attempts, device

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The rows of a batch."""
        return {"number": row["number"], "found": [_packed(lambda: self._rows(row["number"][0], row["found"][0]))]}

    def _rows(self, number: int, content: bytes) -> list[Record]:
        loaded: list[Sample | Broken] = _unpacked(content)
        question: Question = _received(self.asked)
        if engine().get(self.attempts.begin.remote(number)) > ATTEMPTS:
            raise RequestError(
                f"{ATTEMPTS} workers died over the {len(loaded)} images from {loaded[0].name} on, of too little memory "
                "perhaps: ask for fewer at a time with --batch"
            )
        question.model.to(self.device)
        return batch.evaluate(question, loaded)


def _attempts(ray: Any) -> Any:
    """Counts how often each batch was begun, in a process of its own that outlives the workers."""

    class Attempts:
        def __init__(self) -> None:
            self.begun: Counter[int] = Counter()

        def begin(self, number: int) -> int:
            self.begun[number] += 1
            return self.begun[number]

    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote()


def _packed(work: Callable[[], Any]) -> bytes:
    """What was found, or the line that says why nothing was: an error that is raised by a worker comes with logs."""
    try:
        return pickle.dumps(work())
    except RequestError as error:
        return pickle.dumps(error)


def _unpacked(content: bytes) -> Any:
    found = pickle.loads(content)
    if isinstance(found, RequestError):
        raise found
    return found

"""A Study: images x targets x methods x backends, one cell each. All that is shown or saved is made from it."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from camzoo import backends, capture, degenerate, grids, native, specs, targets
from camzoo.agreement import Agreement
from camzoo.agreement import compare as agree
from camzoo.environment import environment
from camzoo.errors import RequestError, one_line
from camzoo.evaluation.readings import Reading
from camzoo.problems import check_images, layer_name, settle
from camzoo.specs import Computation
from camzoo.timing import memory
from camzoo.types import Capture, Heatmap, Problem, Resolution, Settings, Stage, Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from camzoo.evaluation.table import Metric

T = TypeVar("T")

Progress = Callable[[int, int, str], None]
"""Called with the number of steps done, their number, and the name of the one that comes next: each computation, and
then each metric of each image."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image and one target.

    Attributes:
        image: index of the image.
        name: of the image, such as its file name.
        target: what is explained, in words.
        class_index: the class, where the target is one.
        label: the class by name.
        score: the score that was explained.
        probability: softmax of the outputs at the class.
        model: name of the model, with its weights.
        layer: dotted name of the layer.
        layout: the grid in the layer's output, in words.
        top: class, label and probability of the five best; empty where the outputs are no classes.
    """

    image: int
    name: str
    target: str
    class_index: int | None
    label: str
    score: float
    probability: float | None
    model: str
    layer: str
    layout: str
    top: tuple[tuple[int, str, float], ...] = ()

    @property
    def title(self) -> str:
        """The target as a reader wants it: the label and its probability."""
        if self.probability is None:
            return self.target
        return f"{self.label}  {self.probability:.1%}"


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """What one computation gave for one row.

    Attributes:
        row: index into the Study's rows.
        computation: `method@backend`, with its options.
        status: ok, not installed, not offered or failed.
        reason: why not, where it is not ok.
        seconds: wall clock for each image of the batch, where ok; the shared capture is counted in full.
        heatmap: the map alone, `(1, h, w)`, where ok.
        warning: what is wrong with the map where it shows nothing, else "".
        peak_bytes: the most memory that the whole batch held beyond what was held before; a shared capture is counted
            in full. None on a CPU, unless it was weighed in a call of its own (`compare(weigh=True)`).
        readings: what each metric says of the map, by its name; empty where none was asked for or there is no map.
    """

    row: int
    computation: Computation
    status: Status
    reason: str = ""
    seconds: float | None = None
    heatmap: Heatmap | None = field(default=None, repr=False)
    warning: str = ""
    peak_bytes: int | None = None
    readings: Mapping[str, Reading] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Problems x methods x backends.

    Attributes:
        rows: images x targets.
        cells: computations x rows, in the order of both.
        pictures: one for each image, `(H, W, 3)` bytes: what the model saw.
        seed: of every random number.
        environment: versions and machine.
        provenance: what to ask again: the command, hashes of photos and weights; empty where nobody told.
    """

    rows: tuple[Row, ...]
    cells: tuple[Cell, ...] = field(repr=False)
    pictures: tuple[np.ndarray[Any, Any], ...] = field(repr=False)
    seed: int
    environment: Mapping[str, Any] = field(repr=False)
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _agreements: dict[int, Agreement] = field(default_factory=dict, init=False, repr=False)

    @property
    def model(self) -> str:
        """The model of every row, or how many there are."""
        return _common([row.model for row in self.rows], "models")

    @property
    def layer(self) -> str:
        """The layer of every row, or how many there are."""
        return _common([row.layer for row in self.rows], "layers")

    @property
    def layout(self) -> str:
        """The grid of every row, or how many there are."""
        return _common([row.layout for row in self.rows], "layouts")

    @property
    def subject(self) -> str:
        """Model, layer and grid in one line, as far as all rows share them."""
        parts = [self.model, self.layer]
        if len({row.layer for row in self.rows}) == 1:
            parts[1] = f"layer {self.layer}"
        if len({row.layout for row in self.rows}) == 1:
            parts[1] += f" ({self.layout})"
        return ", ".join(parts)

    @property
    def computations(self) -> list[Computation]:
        """What was computed, in order."""
        return [cell.computation for cell in self.cells if cell.row == 0]

    def of(self, row: int) -> list[Cell]:
        """The cells of one row."""
        return [cell for cell in self.cells if cell.row == row]

    def agreement(self, row: int = 0) -> Agreement:
        """How alike the maps of one row are, every pair at the stage NORMALISED; computed once for all who ask."""
        if row not in self._agreements:
            self._agreements[row] = self._agreement(row)
        return self._agreements[row]

    def _agreement(self, row: int) -> Agreement:
        maps, undefined = {}, {}
        for cell in self.of(row):
            if cell.heatmap is None:
                continue
            name = str(cell.computation)
            exact = replace(cell.heatmap, values=degenerate.as_numpy(cell.heatmap.values))
            shown = exact.at(Stage.NORMALISED)
            maps[name] = (shown.values[0] if shown.resolution is Resolution.LAYER else None, shown.resize()[0])
            if cell.warning:
                undefined[name] = cell.warning
        return agree(maps, undefined)

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics that there are readings of, in order."""
        return list(dict.fromkeys(name for cell in self.cells for name in cell.readings))

    def readings(self) -> list[dict[str, Any]]:
        """Every reading as one flat record, as for `pandas.DataFrame`; the columns are those of `camzoo evaluate`."""
        return [
            {
                "image": row.name,
                "target": row.class_index if row.class_index is not None else row.target,
                "model": row.model,
                "layer": row.layer,
                "method": str(cell.computation).removesuffix(f"@{cell.computation.backend}"),
                "backend": cell.computation.backend,
                "metric": name,
                "value": reading.value,
                "status": str(reading.status),
                "reason": reading.reason,
            }
            for cell in self.cells
            for row in [self.rows[cell.row]]
            for name, reading in cell.readings.items()
        ]

    def figure(self, **options: Any) -> Figure:
        """The comparison as a figure: rows of images and targets, columns of methods, one renderer for all."""
        from camzoo import figures

        return figures.comparison(self, **options)

    def save(self, folder: str | Path, overwrite: bool = False) -> list[Path]:
        """Writes results.json, maps.npz, the report, figures and agreement into a folder, all of it or nothing."""
        from camzoo import store

        return store.save(self, Path(folder), overwrite)

    def _repr_html_(self) -> str:
        from camzoo import report

        return report.frame(self)

    def _repr_png_(self) -> bytes:
        from camzoo import figures

        return figures.png(self.figure())


def compare(
    model: torch.nn.Module,
    images: torch.Tensor,
    wanted: str | Iterable[str] = "gradcam",
    *,
    layer: str | torch.nn.Module | None = None,
    target: object = None,
    seed: int = 0,
    names: Sequence[str] = (),
    labels: Sequence[str] = (),
    pictures: Sequence[Any] = (),
    model_name: str = "",
    progress: Progress | None = None,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
    weigh: bool = False,
    metrics: str | Iterable[str] = "",
    masks: torch.Tensor | None = None,
) -> Study:
    """Several methods, of camzoo and of libraries, on the same images, layer and targets.

    camzoo's own methods share one forward pass; the top class is read from it too, so that no library picks its own.

    Args:
        model: any PyTorch classifier; it is given back as it was.
        images: what the model takes, `(N, C, H, W)`.
        wanted: names of computations: `gradcam`, `gradcam@captum`, `*@torchcam`, `gradcam@*`, `*@*`.
        layer: dotted name, module, or None for the rule's choice.
        target: as for `explain`; also "top3", or several for each image as a nested list, `[[281, 282]]`.
        seed: where every random number of a method comes from.
        names: of the images, for titles.
        labels: of the classes, for titles.
        pictures: what to draw the maps on, `(H, W, 3)` bytes; made from the images where not given.
        model_name: for titles; the class of the model where not given.
        progress: called as work goes on.
        settings: of the many runs of camzoo's own methods: chunk size, autocast.
        weigh: whether every computation is made once more on a CPU, to measure its memory; on a GPU it is always known.
        metrics: names of metrics as in `camzoo evaluate`, or "fast": read off every map, by further forward passes.
        masks: `(N, H, W)`, true where the object is that is explained, for metrics of localisation.

    Returns:
        A Study. A backend that is absent, does not offer a method or breaks leaves a cell that says so.

    Raises:
        RequestError: something in the question does not exist or does not fit.
    """
    computations = specs.expand(wanted)
    images = check_images(model, images)
    judges = _judges(metrics, masks, images)
    drawn_on = _pictures(pictures, images)
    layer = layer_name(model, layer, images)
    rounds = targets.rounds(target, len(images))
    needed = native.needs(c.method for c in computations if c.backend == native.NAME)

    (captures, layout), captured = _measured(
        images, lambda: capture.take(model, layer, images, rounds, needed, seed, settings)
    )
    problems = [
        settle(model, layer, images, round_, (evidence, layout), seed)
        for round_, evidence in zip(rounds, captures, strict=True)
    ]
    rows = _rows(problems, captures, names, labels, model_name or type(model).__name__)
    done, steps = [], itertools.count()

    def step(name: str) -> None:
        if progress:
            progress(next(steps), len(computations) + len(images) * len(judges), name)

    for computation in computations:
        step(str(computation))
        for problem, evidence, first in zip(problems, captures, range(len(problems)), strict=True):
            done.append(_cells(computation, problem, evidence, first, len(problems), captured, weigh))
    cells = sorted((cell for cells in done for cell in cells), key=lambda cell: cell.row)
    if judges:
        cells = _judged(cells, rows, judges, problems[0], captures[0].scores, masks, settings.chunk, step)
    step("")
    return Study(
        rows=tuple(rows),
        cells=tuple(cells),
        pictures=drawn_on,
        seed=seed,
        environment=environment(images.device),
    )


def joined(studies: Iterable[Study]) -> Study:
    """One Study of several, such as of two models or four layers; rows of photos of one name stand together.

    A photo that is the same in several of them is kept once. Where their environments differ, each value is told.

    Args:
        studies: with the same computations in the same order, and the same seed.

    Returns:
        A Study. Its provenance is theirs if it is the same, else `{"joined": [...]}` with that of each.

    Raises:
        RequestError: there are none, or they have other computations or seeds.
    """
    parts = list(studies)
    asked = {(tuple(map(str, part.computations)), part.seed) for part in parts}
    if len(asked) != 1:
        why = "studies are joined that have the same computations and seed" if parts else "there are no studies to join"
        raise RequestError(why)
    if len(parts) == 1:
        return parts[0]
    names = list(dict.fromkeys(row.name for part in parts for row in part.rows))
    placed = [(part, number, row) for part in parts for number, row in enumerate(part.rows)]
    placed.sort(key=lambda place: names.index(place[2].name))
    rows: list[Row] = []
    cells: list[Cell] = []
    pictures: dict[tuple[str, tuple[int, ...], bytes], np.ndarray[Any, Any]] = {}
    for at, (part, number, row) in enumerate(placed):
        picture = part.pictures[row.image]
        photo = (row.name, picture.shape, picture.tobytes())
        pictures.setdefault(photo, picture)
        rows.append(replace(row, image=list(pictures).index(photo)))
        cells += [replace(cell, row=at) for cell in part.of(number)]
    told = [part.provenance for part in parts]
    return Study(
        rows=tuple(rows),
        cells=tuple(cells),
        pictures=tuple(pictures.values()),
        seed=parts[0].seed,
        environment=_every([part.environment for part in parts]),
        provenance=told[0] if all(each == told[0] for each in told) else {"joined": told},
    )


def _every(values: Sequence[Any]) -> Any:
    """The value that all share; else, entry by entry, the text of each."""
    if all(value == values[0] for value in values):
        return values[0]
    if all(isinstance(value, Mapping) for value in values):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: _every([value.get(name, "none") for value in values]) for name in names}
    return "; ".join(dict.fromkeys(map(str, values)))


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of one piece of work: wall clock, and on a CUDA device the most bytes held and those that are held still."""

    seconds: float
    peak: int | None
    kept: int

    def peak_after(self, captured: _Cost) -> int | None:
        """The most bytes held since a shared capture began, the evidence of which is held still."""
        return None if self.peak is None or captured.peak is None else max(captured.peak, captured.kept + self.peak)


def _measured(images: torch.Tensor, work: Callable[[], T]) -> tuple[T, _Cost]:
    """What a piece of work gives, and its cost."""
    device = images.device
    before = memory.baseline(device) if images.is_cuda else None
    began = _clock(images)
    found = work()
    seconds, peak = _clock(images) - began, memory.peak(device, before)
    kept = (memory.baseline(device) or 0) - before if before is not None else 0
    return found, _Cost(seconds, peak, kept)


def _cells(
    computation: Computation,
    problem: Problem,
    evidence: Capture,
    first: int,
    step: int,
    captured: _Cost,
    weigh: bool = False,
) -> list[Cell]:
    """The cells of one computation for one round of targets; rows of one image stand together."""
    rows = [first + step * image for image in range(len(problem.images))]
    own, backend = computation.backend == native.NAME, backends.find(computation.backend)
    try:
        backends.load(backend)
        if own:
            work = functools.partial(native.heatmap, evidence)
        else:
            work = functools.partial(backends.run, backend, problem)
        asked = (computation.method, computation.options)
        heatmap, cost = _measured(problem.images, lambda: work(*asked))
        weight = memory.traced(lambda: backends.run(backend, problem, *asked)) if weigh else None
    except Exception as error:  # one broken computation must not take the others down
        return [Cell(row, computation, Status.of(error), one_line(error)) for row in rows]
    seconds, peak = cost.seconds / len(rows), cost.peak
    if own:
        seconds += captured.seconds / (len(rows) * step)
        peak = cost.peak_after(captured)
    if peak is None:
        peak = weight
    warnings = degenerate.reasons(heatmap)
    return [
        Cell(
            row=row,
            computation=computation,
            status=Status.OK,
            seconds=seconds,
            heatmap=replace(heatmap, values=heatmap.values[image : image + 1]),
            warning=warnings[image],
            peak_bytes=peak,
        )
        for image, row in enumerate(rows)
    ]


def _judges(wanted: str | Iterable[str], masks: torch.Tensor | None, images: torch.Tensor) -> tuple[Metric, ...]:
    """The metrics that are asked for, if there is what they need.

    Raises:
        RequestError: one is unknown or lacks something, or the masks are not those of the images.
    """
    if masks is not None and masks.shape != (len(images), *images.shape[2:]):
        raise RequestError(f"masks of shape {tuple(masks.shape)} for images {tuple(images.shape)}: give (N, H, W)")
    if not wanted:
        return ()
    from camzoo.evaluation import judging

    return judging.fitting(wanted, masks is not None)


def _judged(
    cells: Sequence[Cell],
    rows: Sequence[Row],
    metrics: tuple[Metric, ...],
    problem: Problem,
    scores: torch.Tensor,
    masks: torch.Tensor | None,
    chunk: int | None,
    step: Callable[[str], None],
) -> list[Cell]:
    """The cells with the readings of their maps, all maps of an image at once."""
    from camzoo.evaluation import judging

    found: dict[int, Mapping[str, Reading]] = {}
    for image in range(len(problem.images)):
        one = replace(problem, images=problem.images[image : image + 1])
        asked = judging.Asked(one, scores[image], None if masks is None else masks[image].bool(), chunk)
        own = [(at, cell, rows[cell.row]) for at, cell in enumerate(cells) if rows[cell.row].image == image]
        maps = {
            at: judging.Given(cell.computation, torch.as_tensor(cell.heatmap.values).to(scores.device), row.class_index)
            for at, cell, row in own
            if cell.heatmap is not None
        }
        told = functools.partial(_told, step, own[0][2].name)
        found |= zip(maps, judging.judge(metrics, asked, list(maps.values()), told), strict=True)
    return [replace(cell, readings=found.get(at, {})) for at, cell in enumerate(cells)]


def _told(step: Callable[[str], None], image: str, metric: str) -> None:
    step(f"{metric} of {image}")


def _clock(images: torch.Tensor) -> float:
    """The wall clock, once the device has finished what it was given."""
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return time.perf_counter()


def _rows(
    problems: Sequence[Problem], captures: Sequence[Capture], names: Sequence[str], labels: Sequence[str], model: str
) -> list[Row]:
    """Rows in the order image by image, and for each image target by target."""
    count = len(problems[0].images)
    scores = captures[0].scores
    several = scores.ndim == 2 and scores.shape[1] > 1
    probabilities = torch.softmax(scores.double(), -1).cpu() if several else None
    explained = [problem.target(scores).tolist() for problem in problems]

    def row(image: int, at: int) -> Row:
        problem = problems[at]
        named = None if problem.classes is None or probabilities is None else problem.classes[image]
        target = getattr(problem.target, "__name__", str(problem.target))
        return Row(
            image=image,
            name=names[image] if image < len(names) else f"image {image}",
            target=target if named is None else f"logit of class {named}",
            class_index=named,
            label="" if named is None else _label(named, labels),
            score=explained[at][image],
            probability=None if named is None or probabilities is None else float(probabilities[image, named]),
            model=model,
            layer=problem.layer,
            layout=str(problem.layout),
            top=() if probabilities is None else _best(probabilities[image], labels),
        )

    return [row(image, at) for image in range(count) for at in range(len(problems))]


def _best(probabilities: torch.Tensor, labels: Sequence[str]) -> tuple[tuple[int, str, float], ...]:
    """Class, label and probability of the five best."""
    values, classes = probabilities.topk(min(5, len(probabilities)))
    named = zip(classes.tolist(), values.tolist(), strict=True)
    return tuple((index, _label(index, labels), value) for index, value in named)


def _label(index: int, labels: Sequence[str]) -> str:
    return labels[index] if index < len(labels) else f"class {index}"


def _common(values: Sequence[str], several: str) -> str:
    """The one value, or how many there are."""
    found = set(values)
    return values[0] if len(found) == 1 else f"{len(found)} {several}"


def _pictures(given: Sequence[Any], images: torch.Tensor) -> tuple[np.ndarray[Any, Any], ...]:
    """What the maps are drawn on, one `(H, W, 3)` for each image.

    Raises:
        RequestError: the images are volumes, or there is not one picture for each image.
    """
    if images.ndim != 4:
        raise RequestError("volumes have no picture to draw on; use explain()")
    if not len(given):
        return _stretched(images)
    pictures = tuple(np.asarray(picture) for picture in given)
    if len(pictures) != len(images):
        raise RequestError(f"{len(pictures)} pictures for {len(images)} images: give one for each image")
    pictures = tuple(np.stack([picture] * 3, -1) if picture.ndim == 2 else picture for picture in pictures)
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise RequestError(f"a picture is bytes (H, W, 3) or (H, W), not {picture.dtype} {picture.shape}")
    return pictures


def _stretched(images: torch.Tensor) -> tuple[np.ndarray[Any, Any], ...]:
    """Each image stretched to the full range; where it has not three channels, the grey of their mean."""
    shown = images.detach().float().cpu().nan_to_num(0, 0, 0)
    shown = shown if shown.shape[1] == 3 else shown.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    scaled = grids.normalise(shown) * 255
    return tuple(picture.permute(1, 2, 0).numpy() for picture in scaled.round().to(torch.uint8))

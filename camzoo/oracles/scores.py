"""Methods that ask the model again: scores of altered inputs and of altered activations.

`score` is any function from one input `x (C, H, W)` to the number that is explained, `tail` one from the activations
`A (K, h, w)` of the layer to the same number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from camzoo.oracles.gradient import gradcam, ratio, weighted_sum
from camzoo.oracles.grids import Floats, normalise, rectify, resize

Score = Callable[[Floats], float]


def masks(A: Floats, size: tuple[int, ...]) -> list[Floats | None]:
    """`M_k = mm(up(A_k))`: upsampled first, then min-max. None for a constant channel, whose mask is 0/0."""
    return [None if one.min() == one.max() else normalise(resize(one, size)) for one in A]


def softmax(values: Sequence[float | None]) -> Floats:
    """Softmax over the entries that are there; None has weight 0 and no part in the sum."""
    top = max((value for value in values if value is not None), default=0.0)
    odds = np.array([0.0 if value is None else math.exp(value - top) for value in values])
    return odds / odds.sum() if odds.any() else odds


def widest_channels(A: Floats, count: int) -> list[int]:
    """The `count` channels of largest spatial standard deviation; of equals the lower index first."""
    return sorted(range(len(A)), key=lambda k: (-float(A[k].std()), k))[:count]


def scorecam(A: Floats, x: Floats, score: Score, top_channels: int | None = None) -> Floats:
    """`sum_k softmax_k(S(M_k * x)) A_k`: Wang 2020, 1910.01279, algorithm 1; S(x_b) drops out of the softmax.

    A constant channel's mask is not run: it has weight 0 and no part in the softmax. All constant: zeros.
    `top_channels=N`, an approximation: only the N channels of largest spatial standard deviation take part.
    """
    chosen = range(len(A)) if top_channels is None else widest_channels(A, top_channels)
    raised = [
        None if mask is None or k not in chosen else score(mask * x) for k, mask in enumerate(masks(A, x.shape[1:]))
    ]
    return weighted_sum(softmax(raised), A)


def scorecam_authors(A: Floats, x: Floats, probability: Score) -> Floats:
    """`sum_k p_c(M_k * x) A_k`: the authors' code, class probability and no softmax; constant channels skipped."""
    weights = [0.0 if mask is None else probability(mask * x) for mask in masks(A, x.shape[1:])]
    return weighted_sum(np.array(weights), A)


def sscam(A: Floats, x: Floats, score: Score, noise: Floats) -> Floats:
    """SS-CAM (1): Wang, Naidu 2020, 2006.14255: `w = softmax_k (1/T) sum_t S((M_k + d_kt) * x)`.

    `noise[k, t] (H, W)` is `d_kt ~ N(0, std^2)`, by default T = 35 and std = 2: added to the mask after its min-max,
    not clipped, the same for all colour channels. `sum_k w_k A_k`; constant channels as in `scorecam`.
    """
    means: list[float | None] = []
    for k, mask in enumerate(masks(A, x.shape[1:])):
        if mask is None:
            means.append(None)
        else:
            means.append(sum(score((mask + d) * x) for d in noise[k]) / len(noise[k]))
    return weighted_sum(softmax(means), A)


def iscam(A: Floats, x: Floats, score: Score, num_samples: int = 10, strength: str = "linear") -> Floats:
    """IS-CAM: Naidu 2020, 2010.03023: `w = softmax_k (1/T) sum_{t=1..T} S(s_t M_k * x)`.

    The score is integrated over mask strength: `s_t = t/T`. With `strength="cumulative"` the running sum of these,
    `t (t + 1) / (2 T)`, which leaves 0..1 (torchcam's reading). `sum_k w_k A_k`; constant channels as in `scorecam`.
    """
    means: list[float | None] = []
    for mask in masks(A, x.shape[1:]):
        if mask is None:
            means.append(None)
            continue
        total, running = 0.0, 0.0
        for t in range(1, num_samples + 1):
            running += t / num_samples
            total += score((running if strength == "cumulative" else t / num_samples) * mask * x)
        means.append(total / num_samples)
    return weighted_sum(softmax(means), A)


def percentile(values: Floats, percent: float) -> float:
    """Linear interpolation between the two order statistics around `percent/100 * (n - 1)`."""
    ordered = sorted(values.ravel().tolist())
    place = percent / 100 * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


def gaussian_blur(x: Floats, kernel: int = 51, sigma: float = 50.0) -> Floats:
    """Gaussian blur of `(C, H, W)`, taps normalised to sum 1, the border reflected without repeating the edge.

    The kernel is cut to `2 min(H, W) - 1` taps, the most that reflection can fill.
    """
    half = min(kernel, 2 * min(x.shape[1:]) - 1) // 2
    taps = np.array([math.exp(-(step**2) / (2 * sigma**2)) for step in range(-half, half + 1)])
    taps = taps / taps.sum()
    for axis in range(1, x.ndim):
        padded = np.pad(x, [(half, half) if a == axis else (0, 0) for a in range(x.ndim)], mode="reflect")
        blurred = np.zeros_like(x)
        for step, tap in enumerate(taps):
            blurred += tap * np.take(padded, range(step, step + x.shape[axis]), axis=axis)
        x = blurred
    return x


def groupcam(A: Floats, G: Floats, x: Floats, score: Score, groups: int = 32, blurred: Floats | None = None) -> Floats:
    """Group-CAM: Zhang 2021, 2103.13859, with the constants of the authors' code.

    Channels in order are cut into chunks of `ceil(K/groups)`. `m_g = relu(sum_{k in g} (mean G_k) A_k)`, cells not
    above the 70th percentile set to 0; U = up(m_g), lo and hi its ends (equal: the group is skipped);
    `M_g = (U - lo)/(hi - lo)`; `a_g = S(x M_g + blur(x) (1 - M_g)) - S(blur(x))`. RAW, on the grid of the layer:
    `sum_g a_g (m_g - lo)/(hi - lo)`, whose bilinear resize is the authors' `sum_g a_g M_g`. (Their S is the class
    probability.)
    """
    soft = gaussian_blur(x) if blurred is None else blurred
    length = math.ceil(len(A) / groups)
    result = np.zeros(A.shape[1:])
    for start in range(0, len(A), length):
        m = rectify(gradcam(A[start : start + length], G[start : start + length]))
        m = np.where(m > percentile(m, 70), m, 0.0)
        U = resize(m, x.shape[1:])
        low, high = U.min(), U.max()
        if low == high:
            continue
        M = (U - low) / (high - low)
        gain = score(x * M + soft * (1 - M)) - score(soft)
        result += gain * (m - low) / (high - low)
    return result


def ablationcam(A: Floats, tail: Score) -> Floats:
    """`sum_k (S - S_k)/|S| A_k`, channel k of A set to zero in S_k: Desai and Ramaswamy 2020, WACV, with |S| for S.

    Where S < 0 the paper's ratio would turn every sign round, hence the absolute value.
    """
    full = tail(A)
    weights = np.zeros(len(A))
    for k in range(len(A)):
        without = A.copy()
        without[k] = 0.0
        weights[k] = ratio(full - tail(without), abs(full))
    return weighted_sum(weights, A)


def hessian_vector(A: Floats, gradient: Callable[[Floats], Floats], step: float = 1e-4) -> Floats:
    """`H A` by central differences of the gradient along A: exact for a quadratic score."""
    return (gradient(A + step * A) - gradient(A - step * A)) / (2 * step)


def shapleycam(A: Floats, G: Floats, HA: Floats) -> Floats:
    """`sum_k mean_ij(G_k - (H A)_k / 2) A_k`: Cai 2025, 2501.06261.

    `H A` is the Hessian of the score times the activations: the second-order Shapley value of each cell is
    `(G - H A / 2) A`. Where the layers that follow are piecewise linear, H is 0 for a logit, and this is Grad-CAM.
    """
    return gradcam(A, G - 0.5 * HA)


def rest(y: Floats, c: int) -> float:
    """The utility that the ShapleyCAM paper explains: `y_c + log softmax(y)_c`."""
    return float(2 * y[c] - y.max() - math.log(sum(math.exp(v - y.max()) for v in y)))


def smoothgradcam_plus_plus(A: Floats, noisy_gradients: Sequence[Floats]) -> Floats:
    """Smooth Grad-CAM++: Omeiza 2019, 1908.01224: the derivatives of Grad-CAM++ averaged over noisy inputs.

    `D_p = mean_t G_t^p`, `alpha = D_2 / (2 D_2 + (sum_ij A_k) D_3)`, `w_k = sum_ij alpha relu(D_1)`, `sum_k w_k A_k`
    with A of the clean input; 0/0 = 0, cells with D_1 <= 0 add 0. The paper prints D_1 above the
    fraction of alpha, where its own source, Grad-CAM++, has the second derivative. The factors exp(S_t) are left out.
    """
    T = len(noisy_gradients)
    weights = np.zeros(len(A))
    for k in range(len(A)):
        total = float(A[k].sum())
        for cell in np.ndindex(A.shape[1:]):
            first, second, third = (sum(float(G[k][cell]) ** p for G in noisy_gradients) / T for p in (1, 2, 3))
            if not first <= 0:
                weights[k] += ratio(second, 2 * second + total * third) * first
    return weighted_sum(weights, A)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """0, s, 2s, ... until the whole axis is covered; the last window may stick out."""
    return [i * stride for i in range(math.ceil(max(length - window, 0) / stride) + 1)]


def occlusion(
    x: Floats, score: Score, window: tuple[int, ...], stride: tuple[int, ...], baseline: float = 0.0
) -> Floats:
    """Score drop under a sliding patch: Zeiler and Fergus 2014, 1311.2901; on the pixels `(H, W)`.

    Each pixel: the mean of `S(x) - S(x with the window at the baseline)` over the windows that cover it.
    """
    total, count = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
    steps = [window_starts(*axis) for axis in zip(x.shape[1:], window, stride, strict=True)]
    for index in np.ndindex(*map(len, steps)):
        corner = [steps[axis][i] for axis, i in enumerate(index)]
        here = tuple(slice(start, start + length) for start, length in zip(corner, window, strict=True))
        hidden = x.copy()
        hidden[(slice(None), *here)] = baseline
        total[here] += score(x) - score(hidden)
        count[here] += 1
    return np.divide(total, count, out=np.zeros_like(total), where=count != 0)


def rise_mask(cells: Floats, size: tuple[int, int], shift: tuple[int, int]) -> Floats:
    """One mask of RISE: a binary grid `(s, s)`, upsampled to `(s + 1) ceil(H/s)`, cut to `(H, W)` at a shift."""
    steps = [math.ceil(length / side) for length, side in zip(size, cells.shape, strict=True)]
    large = resize(cells, tuple((side + 1) * step for side, step in zip(cells.shape, steps, strict=True)))
    return large[shift[0] : shift[0] + size[0], shift[1] : shift[1] + size[1]]


def rise(x: Floats, score: Score, random_masks: Floats, p: float = 0.5) -> Floats:
    """`1/(N p) sum_i S(M_i * x) M_i`: Petsiuk 2018, 1806.07421, eq. 6; masks `(N, H, W)`; on the pixels `(H, W)`."""
    total = np.zeros(x.shape[1:])
    for mask in random_masks:
        total += score(mask * x) * mask
    return total / (len(random_masks) * p)

"""Layers are found by name, by module or by rule, and the grid in their output is the right one."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable

import pytest
import torch
import torchvision
from conftest import SmallNet, seeded
from snapshots import snapshot
from torch import nn

from camzoo import layers
from camzoo.errors import RequestError
from camzoo.types import Layout


def batch(*size: int, colours: int = 3) -> torch.Tensor:
    return torch.randn(2, colours, *size, generator=torch.Generator().manual_seed(4))


class TestFindLayout:
    @pytest.mark.parametrize(
        ("output", "image", "kind", "grid", "prefix"),
        [
            ((2, 512, 7, 7), (224, 224), "channels-first", (7, 7), 0),
            ((2, 7, 7, 768), (224, 224), "channels-last", (7, 7), 0),
            ((2, 6, 8, 96), (192, 256), "channels-last", (6, 8), 0),
            ((2, 96, 6, 8), (192, 256), "channels-first", (6, 8), 0),
            ((2, 8, 8, 8), (64, 64), "channels-first", (8, 8), 0),  # both readings fit: the common one
            ((2, 8, 6, 8), (48, 64), "channels-first", (6, 8), 0),
            ((2, 512, 1, 1), (224, 224), "channels-first", (1, 1), 0),
            ((2, 16, 9, 20), (300, 640), "channels-first", (9, 20), 0),  # rounded down by strides
            ((2, 197, 768), (224, 224), "tokens", (14, 14), 1),
            ((2, 196, 768), (224, 224), "tokens", (14, 14), 0),
            ((2, 198, 768), (224, 224), "tokens", (14, 14), 2),  # class and distillation token
            ((2, 201, 768), (224, 224), "tokens", (14, 14), 5),  # class token and four registers
            ((2, 261, 1024), (224, 224), "tokens", (16, 16), 5),
            ((2, 50, 768), (224, 224), "tokens", (7, 7), 1),
            ((2, 141, 768), (224, 160), "tokens", (14, 10), 1),
            ((2, 61, 64), (96, 160), "tokens", (6, 10), 1),
            ((2, 5, 64), (64, 64), "tokens", (2, 2), 1),
            ((2, 42, 64), (64, 64), "tokens", (6, 6), 6),  # 6 x 7 with no prefix is less like the image
            ((2, 16, 4, 6, 8), (32, 48, 64), "channels-first", (4, 6, 8), 0),
            ((2, 4, 6, 8, 16), (32, 48, 64), "channels-last", (4, 6, 8), 0),
        ],
    )
    def test_reads(self, output, image, kind, grid, prefix):
        layout = layers.find_layout(torch.empty(output), image)
        assert (layout.kind, layout.shape, layout.prefix) == (kind, grid, prefix)

    @pytest.mark.parametrize(
        ("output", "image", "says"),
        [
            (torch.empty(2, 1000), (224, 224), r"'x' gives \(2, 1000\), which is no grid"),
            (torch.empty(2, 1, 768), (224, 224), "no grid"),
            (torch.empty(2, 3, 64), (224, 224), "no grid"),
            (torch.empty(2, 60, 60, 2, 2), (224, 224), "no grid"),
            (torch.empty(2, 64, 16), (8, 8, 8), "no grid"),
            (torch.empty(()), (224, 224), "no grid"),
            ((torch.empty(2, 512, 7, 7),), (224, 224), "'x' gives a tuple, no grid"),
            (None, (224, 224), "'x' gives a NoneType, no grid"),
        ],
        ids=lambda value: str(tuple(value.shape)) if isinstance(value, torch.Tensor) else None,
    )
    def test_refuses(self, output, image, says):
        with pytest.raises(RequestError, match=says):
            layers.find_layout(output, image, "x")

    @pytest.mark.parametrize(
        ("layout", "shape"),
        [
            (Layout("channels-first", (2, 3)), (2, 4, 2, 3)),
            (Layout("channels-last", (2, 3)), (2, 2, 3, 4)),
            (Layout("tokens", (2, 3)), (2, 6, 4)),
            (Layout("tokens", (2, 3), 3), (2, 9, 4)),
            (Layout("channels-last", (2, 3, 5)), (2, 2, 3, 5, 4)),
        ],
        ids=str,
    )
    def test_the_grid_is_a_view_in_reading_order(self, layout, shape):
        output = torch.arange(torch.Size(shape).numel()).reshape(shape)
        grid = layout.to_grid(output)
        assert grid.shape == (2, 4, *layout.shape)
        assert grid.untyped_storage().data_ptr() == output.untyped_storage().data_ptr()
        for image, channel, *cell in torch.cartesian_prod(*map(torch.arange, grid.shape)).tolist():
            if layout.kind == "channels-first":
                place = (image, channel, *cell)
            elif layout.kind == "channels-last":
                place = (image, *cell, channel)
            else:
                place = (image, layout.prefix + cell[0] * layout.shape[1] + cell[1], channel)
            assert grid[(image, channel, *cell)] == output[place]


class TestNameOf:
    def test_by_name_and_by_module(self):
        net = seeded(torchvision.models.squeezenet1_1)
        assert layers.name_of(net, "features.3.expand1x1") == "features.3.expand1x1"
        assert layers.name_of(net, net.features[3].expand1x1) == "features.3.expand1x1"

    def test_suggests_the_closest(self, small_net):
        with pytest.raises(RequestError, match="unknown layer 'last_akt': did you mean last_act"):
            layers.name_of(small_net, "last_akt")

    def test_takes_the_second_name_of_a_shared_layer(self, small_net):
        small_net.again = small_net.last
        assert layers.name_of(small_net, "again") == "again"
        assert layers.name_of(small_net, small_net.again) == "last"

    @pytest.mark.parametrize("layer", ["", "conv9", "last.", ".last", "last.weight", "training"])
    def test_refuses_unknown_names(self, small_net, layer):
        with pytest.raises(RequestError, match="unknown layer"):
            layers.name_of(small_net, layer)

    def test_refuses_a_strangers_module(self, small_net):
        with pytest.raises(RequestError, match="this Conv2d is no part of the model"):
            layers.name_of(small_net, nn.Conv2d(3, 6, 3))


def test_trace_lists_modules_as_they_finish(small_net):
    found = layers.trace(small_net, batch(24, 32))
    assert [info.name for info in found] == ["stem", "norm", "act", "last", "last_act", "pool", "head"]
    assert [info.kind for info in found][:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert found[0].shape == (1, 6, 12, 16)
    assert found[0].parameters == 6 * 3 * 9 + 6
    assert found[-1].layout is None
    assert str(found[3].layout) == "6 x 8 channels-first"


def test_parameters_are_counted_once_and_memory_where_it_is_new():
    conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
    net = nn.Sequential(conv, nn.ReLU(inplace=True), conv, nn.ReLU(), nn.Dropout(), nn.Sequential(nn.Flatten()))
    found = layers.trace(net.eval(), batch(4, 5))
    image = 3 * 4 * 5 * 4  # bytes of float32
    assert [(info.parameters, info.cumulative, info.memory) for info in found] == [
        (81, 81, image),
        (0, 81, 0),  # in place
        (81, 81, image),  # the same weights once more
        (0, 81, image),
        (0, 81, 0),  # in eval mode the dropout hands on what it is given
        (0, 81, 0),  # a view
        (0, 81, 0),
    ]


def test_memory_of_what_the_images_fill_or_is_no_tensor():
    class Pair(nn.Module):
        def forward(self, images):
            return images * 2, images

    class First(nn.Module):
        def forward(self, pair):
            return pair[0].double()

    found = layers.trace(nn.Sequential(nn.Identity(), Pair(), First()), batch(4, 5))
    assert [info.memory for info in found] == [0, 0, 3 * 4 * 5 * 8]


@pytest.mark.parametrize(("build", "total"), [(torchvision.models.alexnet, 61_100_840), (lambda: narrow_vit(), None)])
def test_the_last_cumulative_number(build, total):
    """A whole model's parameters have been met when its last module is done, but for those of the model itself."""
    net = seeded(build)
    found = layers.trace(net, batch(64, 64) if total else batch(32, 32))
    own = sum(parameter.numel() for parameter in net.parameters(recurse=False))
    assert found[-1].cumulative + own == (total or sum(parameter.numel() for parameter in net.parameters()))
    assert all(one.cumulative <= other.cumulative for one, other in itertools.pairwise(found))


def narrow_vit(**options) -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 3, 4, 16, 32, **options)


# What the rule chooses, on small inputs; the reading of the names is that of each model's author.
DEFAULTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], str]] = {
    "resnet18": (torchvision.models.resnet18, (64, 96), "layer4"),
    "alexnet": (torchvision.models.alexnet, (64, 96), "features.11"),
    "densenet121": (torchvision.models.densenet121, (64, 96), "features"),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, (64, 96), "features"),
    "mobilenet_v3_small": (torchvision.models.mobilenet_v3_small, (64, 96), "features"),
    "squeezenet1_1": (torchvision.models.squeezenet1_1, (64, 96), "features"),
    "shufflenet": (torchvision.models.shufflenet_v2_x0_5, (64, 96), "conv5"),
    "efficientnet_b0": (torchvision.models.efficientnet_b0, (64, 96), "features"),
    "mnasnet": (torchvision.models.mnasnet0_5, (64, 96), "layers"),
    "regnet": (torchvision.models.regnet_y_400mf, (64, 96), "trunk_output"),
    "narrow ViT": (narrow_vit, (32, 32), "encoder.layers.encoder_layer_2.ln_1"),
}
SLOW_DEFAULTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], str]] = {
    "vgg16": (lambda: torchvision.models.vgg16(init_weights=False), (64, 96), "features.29"),
    "googlenet": (lambda: torchvision.models.googlenet(init_weights=False), (64, 96), "inception5b"),
    "inception_v3": (lambda: torchvision.models.inception_v3(init_weights=False), (96, 128), "Mixed_7c"),
    "convnext_tiny": (torchvision.models.convnext_tiny, (64, 96), "features"),
    "swin_t": (torchvision.models.swin_t, (64, 96), "permute"),
    "swin_v2_t": (torchvision.models.swin_v2_t, (64, 96), "permute"),
    "vit_b_16": (torchvision.models.vit_b_16, (224, 224), "encoder.layers.encoder_layer_11.ln_1"),
}


def check_default(build, size, wanted):
    net = seeded(build).train()
    before = snapshot(net)
    choice = layers.choose(net, batch(*size))
    assert choice.layer.name == wanted
    assert choice.why
    assert choice.layer.layout is not None
    assert snapshot(net) == before


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_layer(name):
    check_default(*DEFAULTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_DEFAULTS)
def test_default_layer_of_larger_models(name):
    check_default(*SLOW_DEFAULTS[name])


class TestChoose:
    def test_the_score_depends_on_it(self):
        """After the last attention the patch tokens no longer reach the score; the layer chosen is before it."""
        net = seeded(narrow_vit)
        nn.init.normal_(net.heads.head.weight)
        choice = layers.choose(net, batch(32, 32))
        kept = {}
        module = net.get_submodule(choice.layer.name)
        module.register_forward_hook(lambda _m, _i, output: kept.setdefault("output", output))
        scores = net(batch(32, 32))
        (gradient,) = torch.autograd.grad(scores[:, 0].sum(), kept["output"])
        assert (choice.layer.layout.kind, choice.layer.layout.prefix) == ("tokens", 1)
        assert gradient[:, 1:].abs().min() > 0

    def test_the_layer_may_have_a_channel_for_each_class(self):
        net = seeded(lambda: SmallNet(classes=8, channels=8))
        assert layers.choose(net, batch(24, 32)).layer.name == "last_act"

    def test_a_map_of_class_scores_is_passed_over(self):
        class Fully(SmallNet):
            def forward(self, images):
                grid = self.last_act(self.last(self.stem(images)))
                return self.scores(grid).mean((2, 3))

            def __init__(self) -> None:
                super().__init__()
                self.scores = nn.Conv2d(8, 5, 1)

        assert layers.choose(seeded(Fully), batch(24, 32)).layer.name == "last_act"

    def test_a_layer_that_runs_twice_is_passed_over(self):
        class Recurrent(SmallNet):
            def forward(self, images):
                grid = self.last(self.stem(images))
                grid = self.last_act(grid)
                return self.head(self.last_act(grid - 1).mean((2, 3)))

        choice = layers.choose(seeded(Recurrent), batch(24, 32))
        assert choice.layer.name == "last"

    def test_volumes(self):
        net = nn.Sequential(nn.Conv3d(1, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3))
        choice = layers.choose(net, batch(8, 12, 16, colours=1))
        assert (choice.layer.name, choice.layer.layout.shape) == ("1", (4, 6, 8))

    @pytest.mark.parametrize(
        "net",
        [nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5)), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())],
        ids=["linear", "pooling"],
    )
    def test_says_that_there_is_no_grid(self, net):
        with pytest.raises(RequestError, match="no layer of this model gives a grid"):
            layers.choose(net, batch(8, 8))

    @pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
    def test_the_callers_grad_mode_does_not_matter(self, small_net, around):
        with around():
            assert layers.choose(small_net, batch(24, 32)).layer.name == "last_act"

    def test_a_model_that_raises_is_given_back(self):
        class Broken(SmallNet):
            def forward(self, images):
                super().forward(images)
                raise ZeroDivisionError

        net = seeded(Broken).train()
        before = snapshot(net)
        with pytest.raises(ZeroDivisionError):
            layers.choose(net, batch(24, 32))
        assert snapshot(net) == before


def test_another_threads_pass_in_the_middle_of_a_trace():
    """Its modules start and finish between those of the trace, and are no part of it."""
    scores = nn.Sequential(nn.Conv2d(8, 5, 1), nn.ReLU())
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), scores, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images, others = batch(24, 32), []
    assert layers.choose(net, images).layer.name == "1"  # the map of class scores is passed over

    def interrupt(*_: object) -> None:
        if not others:
            others.append(threading.Thread(target=net, args=(images,)))
            others[0].start()
            others[0].join()

    scores[1].register_forward_hook(interrupt)
    assert layers.choose(net, images).layer.name == "1"
    assert len(others) == 1


def test_threads_do_not_see_each_others_passes(small_net):
    """Each thread's hooks see that thread's forward pass only: what ran, in which order, and what began when."""
    vit = seeded(narrow_vit)
    before = snapshot(small_net), snapshot(vit)
    images, start, wrong = batch(24, 32), threading.Barrier(8), []

    def work() -> None:
        start.wait()
        for _ in range(10):
            try:
                names = [info.name for info in layers.trace(small_net, images)]
                assert names == ["stem", "norm", "act", "last", "last_act", "pool", "head"]
                assert layers.choose(small_net, images).layer.name == "last_act"
                assert layers.choose(vit, batch(32, 32)).layer.name == "encoder.layers.encoder_layer_2.ln_1"
            except BaseException as error:
                wrong.append(error)
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    assert (snapshot(small_net), snapshot(vit)) == before

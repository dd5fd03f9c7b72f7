"""Random numbers that depend on their keys and on nothing else."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from camzoo.noise import as_array, generator, normal


def test_the_keys_say_it_all():
    first = generator(1, 2, 3).random(5)
    generator(9).random(100)
    assert generator(1, 2, 3).random(5).tolist() == first.tolist()


@pytest.mark.parametrize("keys", [(1, 2, 4), (1, 3, 2), (2, 2, 3), (3, 2, 1), (1, 2, 3, 1)])
def test_other_keys_are_other_numbers(keys):
    assert not np.array_equal(generator(*keys).random(5), generator(1, 2, 3).random(5))


def test_any_integer_is_a_key():
    for key in (0, -1, 2**63, -(2**70)):
        assert generator(key).random() == generator(key).random()
    assert generator(-1).random() != generator(1).random()


def test_no_generator_of_the_caller_is_touched():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    normal(torch.zeros(1), (3, 4), 0)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_standard_normal():
    drawn = normal(torch.zeros(1, dtype=torch.float64), (400, 500), 7)
    assert abs(float(drawn.mean())) < 5 / 400
    assert abs(float(drawn.std()) - 1) < 5 / 400
    assert abs(float((drawn**4).mean()) - 3) < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_same_in_every_dtype_but_for_rounding(dtype):
    wanted = torch.from_numpy(generator(1, 2).standard_normal((3, 4), dtype=np.float32))
    found = normal(torch.zeros(1, dtype=dtype), (3, 4), 1, 2)
    assert found.dtype == dtype
    assert torch.equal(found, wanted.to(dtype))


def test_of_the_library_that_it_is_like():
    values = np.arange(3)
    assert isinstance(as_array(np.zeros(1, np.float32), values), np.ndarray)
    assert as_array(torch.zeros(1, dtype=torch.float64), values).tolist() == [0.0, 1.0, 2.0]
    assert as_array(torch.zeros(1, device="meta"), values).device.type == "meta"


def test_jax():
    jnp = pytest.importorskip("jax.numpy")
    found = normal(jnp.zeros(1, dtype=jnp.float32), (3, 4), 1, 2)
    assert np.array_equal(np.asarray(found), normal(torch.zeros(1), (3, 4), 1, 2).numpy())

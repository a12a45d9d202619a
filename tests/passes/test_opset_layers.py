"""Poolings, normalisations and resampling agree with their forms at other opsets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from nfexport.passes.opset.rules import RULES, normalisation
from nfexport.passes.opset.rules.pooling import more_padding
from nfexport.passes.opset.rules.rewrite_site import RewriteSite
from tests.passes import opset_agreement as agreement

Y = "float[a,b,c,d] y"


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("size", ["7", "8", "h"])
@pytest.mark.parametrize(("kernel", "pad"), [(2, 0), (3, 1)])
def test_ceil_mode_becomes_padding(op_type: str, size: str, kernel: int, pad: int) -> None:
    attributes = f"kernel_shape=[{kernel}, {kernel}], strides=[2, 2], pads=[{pad}, {pad}, {pad}, {pad}]"
    text = f"g (float[N,3,{size},{size}] x) => ({Y}) {{ y = {op_type}<{attributes}, ceil_mode=1>(x) }}"
    before = agreement.parse(text, 18)
    after, _ = agreement.carry(before, 9)
    rng = np.random.default_rng(0)
    for length in [7, 8] if size == "h" else [int(size)]:
        # below 0, so that a padded cell would win a maximum if it counted as 0
        x = -1 - rng.random((2, 3, length, length), dtype=np.float32)
        expected = agreement.run(before, {"x": x})
        assert agreement.error(agreement.run(after, {"x": x}), expected) <= agreement.ROUNDING


def test_ceil_mode_left_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(site: RewriteSite) -> object:
        given = {name: a for name, a in site.node.attributes.items() if name != "ceil_mode"}
        return [site.emit(site.node.op_type, site.x(), **given)]

    text = f"""g (float[N,3,7,7] x) => ({Y})
               {{ y = AveragePool<kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1>(x) }}"""
    before = agreement.parse(text, 18)
    feeds = agreement.seeded_feeds(before)
    right, _ = agreement.carry(before, 9)
    monkeypatch.setitem(RULES, "AveragePool", forgets)
    wrong, _ = agreement.carry(before, 9)
    expected = agreement.run(before, feeds)
    assert agreement.error(agreement.run(right, feeds), expected) <= agreement.ROUNDING
    assert agreement.run(wrong, feeds)[0].shape != expected[0].shape


def test_padding_gives_the_windows_that_torch_counts() -> None:
    for n, k, s, b, e in itertools.product(range(3, 9), (1, 2, 3), (1, 2, 3, 4), (0, 1), (0, 1)):
        if max(b, e) > k // 2:
            continue
        x = torch.zeros(1, 1, n)
        # torch pads both ends alike
        if b == e:
            windows = torch.nn.functional.max_pool1d(x, k, s, b, ceil_mode=True).shape[-1]
            more = more_padding(n, kernel=k, stride=s, before=b, after=e)
            assert more is not None
            assert (n + b + e + more - k) // s + 1 == windows
        free = more_padding(None, kernel=k, stride=s, before=b, after=e)
        exact = more_padding(n, kernel=k, stride=s, before=b, after=e)
        if free is not None and exact is not None:
            assert (n + b + e + free - k) // s == (n + b + e + exact - k) // s


NORMALISATIONS = {
    "LayerNormalization": (
        "g (float[N,6,5] x, float[5] s, float[5] b) => (float[u,v,w] y) { y = LayerNormalization(x, s, b) }",
        17,
    ),
    "LayerNormalization over two axes, without bias": (
        """g (float[N,6,5] x, float[6,5] s) => (float[u,v,w] y)
           { y = LayerNormalization<axis=1, epsilon=0.01>(x, s) }""",
        17,
    ),
    "LayerNormalization with statistics": (
        """g (float[N,6,5] x, float[5] s) => (float[u,v,w] y, float[d,e,f] m, float[p,q,r] i)
           { y, m, i = LayerNormalization(x, s) }""",
        17,
    ),
    "RMSNormalization": (
        "g (float[N,6,5] x, float[5] s) => (float[u,v,w] y) { y = RMSNormalization<epsilon=0.01>(x, s) }",
        23,
    ),
    "GroupNormalization": (
        f"""g (float[N,6,5,4] x, float[6] s, float[6] b) => ({Y})
            {{ y = GroupNormalization<num_groups=3>(x, s, b) }}""",
        21,
    ),
    "GroupNormalization of any size": (
        f"""g (float[N,6,h,w] x, float[6] s, float[6] b) => ({Y})
            {{ y = GroupNormalization<num_groups=2>(x, s, b) }}""",
        21,
    ),
    "BatchNormalization": (
        f"""g (float[N,3,5,4] x, float[3] s, float[3] b) => ({Y})
            <float[3] m = {{0.5, 1.0, 2.0}}, float[3] v = {{0.5, 1.0, 2.0}}>
            {{ y = BatchNormalization<epsilon=0.01>(x, s, b, m, v) }}""",
        15,
    ),
}


@pytest.mark.parametrize("target", [9, 11, 13])
@pytest.mark.parametrize(("text", "source"), NORMALISATIONS.values(), ids=NORMALISATIONS.keys())
def test_a_normalisation_is_spelt_out(text: str, source: int, target: int) -> None:
    agreement.carried_operators(text, source, target)


def test_half_precision_is_normalised_in_float32() -> None:
    text = """g (float16[N,6,5] x, float16[5] s) => (float16[u,v,w] y) { y = LayerNormalization(x, s) }"""
    # float16 has 11 bits: one rounding is 5e-4
    operators = agreement.carried_operators(text, 17, 13, tolerance=1e-3)
    assert operators.count("Cast") == 2


def test_a_wrong_epsilon_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a variance of 0.01 an epsilon added outside the root changes the result by percents."""

    def outside(site: RewriteSite, mean_square: object, ftype: object) -> object:
        epsilon = np.array(site.attribute("epsilon", 1e-5), dtype=np.float32)
        return site.emit("Add", site.emit("Sqrt", mean_square), epsilon)  # type: ignore[arg-type]

    text, source = NORMALISATIONS["LayerNormalization over two axes, without bias"]
    before = agreement.parse(text, source)
    feeds = {name: array / 20 for name, array in agreement.seeded_feeds(before).items()}
    expected = agreement.run(before, feeds)
    right, _ = agreement.carry(before, 11)
    assert agreement.error(agreement.run(right, feeds), expected) <= agreement.ROUNDING
    monkeypatch.setattr(normalisation, "_root", outside)
    wrong, _ = agreement.carry(before, 11)
    assert agreement.error(agreement.run(wrong, feeds), expected) > 0.01


TRAINING_13 = f"""g (float[N,3,5,4] x, float[3] s, float[3] b) => ({Y})
    <float[3] m = {{0.5, 1.0, 2.0}}, float[3] v = {{0.5, 1.0, 2.0}}>
    {{ y, m1, v1, m2, v2 = BatchNormalization<epsilon=0.01, momentum=0.8>(x, s, b, m, v) }}"""
TRAINING_14 = f"""g (float[N,3,5,4] x, float[3] s, float[3] b) => ({Y})
    <float[3] m = {{0.5, 1.0, 2.0}}, float[3] v = {{0.5, 1.0, 2.0}}>
    {{ y, m1, v1 = BatchNormalization<epsilon=0.01, training_mode=1>(x, s, b, m, v) }}"""


@pytest.mark.parametrize(("text", "source", "target"), [(TRAINING_13, 13, 17), (TRAINING_14, 15, 11)])
def test_training_form_stays_training_form(text: str, source: int, target: int) -> None:
    before = agreement.parse(text, source)
    after, _ = agreement.carry(before, target)
    (node,) = after.graph.node
    assert (node.op_type, len(node.output)) == ("BatchNormalization", 5 if target < 14 else 3)
    feeds = agreement.seeded_feeds(before)
    x = feeds["x"].astype(np.float64)
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    s, b = (feeds[name].reshape(1, 3, 1, 1) for name in "sb")
    expected = ((x - mean) / np.sqrt(var + 0.01) * s + b).astype(np.float32)
    assert agreement.error(agreement.run(after, feeds), [expected]) <= agreement.ROUNDING


RESIZES = {
    "scales 18 to 13": ('mode="linear"', "float[4] s = {1, 1, 2, 2}", "x, , s", 18, 13),
    "scales 18 to 11": ('mode="linear"', "float[4] s = {1, 1, 2, 2}", "x, , s", 18, 11),
    "sizes 19 to 11": ('mode="cubic"', "int64[4] s = {2, 3, 7, 9}", "x, , , s", 19, 11),
    "axes 18 to 13": ('mode="linear", axes=[2, 3]', "float[2] s = {2, 1.5}", "x, , s", 18, 13),
    "sizes of axes 18 to 11": ('mode="linear", axes=[-1, -2]', "int64[2] s = {7, 9}", "x, , , s", 18, 11),
    "enlarging to 9": (
        'mode="linear", coordinate_transformation_mode="asymmetric"',
        *("float[4] s = {1, 1, 2, 3}", "x, , s", 13, 9),
    ),
    "nearest to 10": (
        'mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"',
        *("float[4] s = {1, 1, 2, 3}", "x, , s", 13, 10),
    ),
    "nearest from 10": ('mode="nearest"', "float[4] s = {1, 1, 2, 3}", "x, s", 10, 18),
    "linear from 10": ('mode="linear"', "float[4] s = {1, 1, 2, 3}", "x, s", 10, 13),
    "11 to 18": ('mode="linear"', "float[4] s = {1, 1, 2, 3}, float[0] r = {}", "x, r, s", 11, 18),
    "sizes 11 to 13": (
        'mode="linear"',
        *("int64[4] z = {2, 3, 9, 8}, float[0] s = {}, float[0] r = {}", "x, r, s, z", 11, 13),
    ),
}


@pytest.mark.parametrize(("attributes", "constants", "inputs", "source", "target"), RESIZES.values(), ids=RESIZES)
def test_resize(attributes: str, constants: str, inputs: str, source: int, target: int) -> None:
    text = f"g (float[2,3,5,4] x) => ({Y}) <{constants}> {{ y = Resize<{attributes}>({inputs}) }}"
    expected = "Upsample" if target < 10 else "Resize"
    # linear weights are computed in float32 from coordinates, so the last digits differ between versions
    assert agreement.carried_operators(text, source, target, tolerance=1e-5) == [expected]


def test_upsample_becomes_resize() -> None:
    text = f"""g (float[2,3,5,4] x) => ({Y}) <float[4] s = {{1, 1, 2, 2}}>
               {{ y = Upsample<mode="linear">(x, s) }}"""
    assert agreement.carried_operators(text, 9, 13, tolerance=1e-5) == ["Resize"]


@pytest.mark.parametrize(("mode", "source", "target"), [("bilinear", 16, 20), ("cubic", 20, 17)])
def test_grid_sample_modes_are_renamed(mode: str, source: int, target: int) -> None:
    text = f"""g (float[N,3,5,4] x, float[N,6,6,2] i) => ({Y}) {{ y = GridSample<mode="{mode}">(x, i) }}"""
    assert agreement.carried_operators(text, source, target) == ["GridSample"]

"""Every dialect against its framework: sizes, windows (by values) and refusals.

`python -m tests.crosscheck --count 20000` is the large run of the same comparison.
"""

import os
import subprocess
import sys

import pytest

from convscape.arithmetic import InputError, Window
from convscape.arithmetic.dialects import DIALECTS, Layer, onnx, window
from tests.crosscheck.compare import Tally, run
from tests.crosscheck.settings import Setting, contradiction, ours

# Settings in this run, and whether they are really run or only shaped by the framework.
PLAN = [
    ("torch", 4000, True),
    ("onnx", 4000, True),
    ("keras", 2500, False),
    ("keras", 1500, True),
    ("jax", 2500, False),
    ("jax", 150, True),
]


def check(tally: Tally, count: int) -> None:
    assert not tally.wrong, "\n".join(tally.wrong[:5])
    agreed = sum(tally.counts[f"same {what}"] for what in ("values", "size", "window"))
    assert agreed > count / 2, f"most settings must be valid ones: {tally.counts}"
    assert tally.counts["refused by both"] > 0


@pytest.mark.parametrize(("dialect", "count", "values"), PLAN)
def test_dialect_places_its_windows_where_the_framework_does(
    dialect: str, count: int, values: bool
) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(dialect, dialect))
    check(run(dialect, count, values=values, seed=1), count)


def test_keras_on_jax_places_its_windows_where_keras_does_on_torch() -> None:
    """The backend is chosen once a process, so this is another one."""
    code = (
        "from tests.crosscheck.compare import run; t = run('keras', 100, values=True, seed=2);"
        "print(t.wrong, t.counts); assert not t.wrong and t.counts['same values'] > 60;"
        "t = run('keras', 500, values=False, seed=2);"
        "print(t.wrong, t.counts); assert not t.wrong and t.counts['same window'] > 300"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_wrong_window_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell of shift with the same sizes must not pass as agreement."""
    from convscape.arithmetic.dialects import rules

    def shifted(axis: object) -> Window:
        w = onnx.window(axis)  # type: ignore[arg-type]
        low, high = w.padding
        return Window(w.kernel, w.stride, w.dilation, w.input_dilation, (low + 1, high - 1))

    monkeypatch.setitem(rules._WINDOW, "torch", shifted)
    tally = run("torch", 50, values=True)
    assert len(tally.wrong) > 10


# Where frameworks contradict their own documentation, one setting each: what they do, so that a
# release that changes it is noticed, and that we do the documented thing.


def framework(setting: Setting) -> list[float]:
    from tests.crosscheck.frameworks import RUN

    x = list(range(1, setting.n + 1))
    return [float(v) for v in RUN[setting.dialect](setting, x, [1, 10, 100][: setting.kernel])]


def test_keras_average_same_on_torch_repeats_the_edge_and_we_follow_tensorflow() -> None:
    keras = pytest.importorskip("keras")
    s = Setting("keras", "avg_pool", 4, 3, 2, "same")
    assert ours(s, [1, 2, 3, 4], []) == [2.0, 3.5], "the mean of the real cells"
    if keras.backend.backend() == "torch":
        assert contradiction(s, "torch")
        assert framework(s)[1] != 3.5


def test_onnx_pooling_window_that_does_not_fit_is_made_by_the_runtime_and_refused_by_us() -> None:
    pytest.importorskip("onnxruntime")
    s = Setting("onnx", "max_pool", 4, 5, 2, "VALID")
    assert contradiction(s)
    assert len(framework(s)) == 1
    assert ours(s, [1, 2, 3, 4], []) is None


def test_onnx_same_where_cells_are_left_over_is_cropped_by_the_runtime_and_not_by_us() -> None:
    pytest.importorskip("onnxruntime")
    s = Setting("onnx", "conv", 4, 1, 4, "SAME_UPPER")
    assert contradiction(s)
    assert framework(s) == [2.0]
    assert ours(s, [1, 2, 3, 4], [1]) == [1]


def test_onnx_rounds_valid_with_ceil_mode_as_the_runtime_does_not_as_the_text_says() -> None:
    """The text says ceil((i - k + 1) / s) = 2; inference and runtime give ceil((i - k) / s) + 1."""
    pytest.importorskip("onnxruntime")
    s = Setting("onnx", "max_pool", 6, 3, 2, "VALID", ceil_mode=True)
    assert ours(s, [1, 2, 3, 4, 5, 6], []) == framework(s) == [3, 5, 6]


def test_only_the_newest_onnx_infers_the_last_window_rule() -> None:
    shape_inference = pytest.importorskip("onnx.shape_inference")
    from tests.crosscheck.frameworks import onnx_model

    s = Setting("onnx", "max_pool", 6, 1, 2, "NOTSET", ceil_mode=True)
    sizes = {}
    for opset in (12, 22):
        inferred = shape_inference.infer_shapes(onnx_model(s, opset))
        sizes[opset] = inferred.graph.output[0].type.tensor_type.shape.dim[2].dim_value
    assert sizes == {12: 4, 22: 3}
    assert len(ours(s, [1, 2, 3, 4, 5, 6], []) or []) == 3


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("keras", "conv", 5, 3, 1, 1), "Keras takes padding by name only"),
        (("keras", "conv", 9, 3, 2, "same", 2), "strides above 1 together with dilation"),
        (("keras", "conv", 5, 3, 1, "full"), "Keras has valid, same, causal"),
        (("keras", "max_pool", 5, 3, 1, "causal"), "Keras has valid, same"),
        (("torch", "conv", 5, 3, 2, "same"), "at stride 1 only"),
        (("torch", "conv", 5, 3, 1, (0, 1)), "pads both ends of an axis alike"),
        (("torch", "max_pool", 5, 3, 1, 2), "at most half of its kernel"),
        (("torch", "conv", 5, 3, 1, -1), "must not be negative"),
        (("onnx", "conv", 5, 3, 1, "same"), "write SAME_UPPER or SAME_LOWER"),
        (("onnx", "conv", 5, 3, 1, "SAME_UPPER", 2), "refuses auto_pad SAME with dilation"),
        (("onnx", "max_pool", 5, 2, 1, 2), "pooling pads below the kernel"),
        (("jax", "conv", 5, 3, 1, "half"), "JAX has SAME, SAME_LOWER, VALID, CAUSAL"),
        (("convscape", "transposed", 5, 3, 2, "same"), "place `same` of a transposed"),
        (("caffe", "conv", 5, 3), "known dialects: keras, torch, onnx, jax"),
        (("torch", "convolve", 5, 3), "known operations"),
        (("torch", "conv", 0, 3), "input must not be empty"),
        (("torch", "conv", 5, 3, 0), "stride must be at least 1"),
    ],
)
def test_refusals_name_the_rule(arguments: tuple[object, ...], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        window(*arguments)  # type: ignore[arg-type]


def test_rules_over_several_axes_are_kept_too() -> None:
    with pytest.raises(InputError, match="on any axes"):
        Layer.of("keras", "conv", (3, 3), (2, 1), "same", (1, 2))
    with pytest.raises(InputError, match="one padding name for all axes"):
        Layer.of("onnx", "conv", (3, 3), 1, ("VALID", 1))
    with pytest.raises(InputError, match="causal padding is for one axis"):
        Layer.of("keras", "conv", (3, 3), 1, "causal")
    with pytest.raises(InputError, match="no grouped transposed"):
        Layer.of("keras", "transposed", (3, 3), in_channels=4, groups=2)
    with pytest.raises(InputError, match="axis 1: extent 3 on 2 cells"):
        Layer.of("torch", "conv", (3, 3)).windows((5, 2))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_torch_limits_pooling_padding_by_the_kernel_however_dilated(rank: int) -> None:
    torch = pytest.importorskip("torch")
    pool = getattr(torch.nn.functional, f"max_pool{rank}d")
    with pytest.raises(RuntimeError, match="half of"):
        pool(torch.zeros(1, 1, *[20] * rank), 3, 1, 2, 3)
    with pytest.raises(InputError, match="at most half"):
        Layer.of("torch", "max_pool", 3, 1, 2, 3, rank=rank).outputs((20,) * rank)


def test_onnx_attributes_must_not_contradict_each_other() -> None:
    assert onnx.padding_of("SAME_LOWER", None, 2) == ("SAME_LOWER", "SAME_LOWER")
    assert onnx.padding_of("NOTSET", None, 2) == (0, 0)
    with pytest.raises(InputError, match="must not both be set"):
        onnx.padding_of("SAME_UPPER", [1, 1], 1)
    with pytest.raises(InputError, match="two numbers an axis"):
        onnx.padding_of("NOTSET", [1, 1], 2)


def test_defaults_are_the_frameworks_own() -> None:
    strides = {d: Layer.of(d, "max_pool", 3, rank=1).stride for d in DIALECTS}
    assert strides == {"keras": (3,), "torch": (3,), "onnx": (1,), "jax": (1,)}
    counted = {d: Layer.of(d, "avg_pool", 3, rank=1).count_include_pad for d in DIALECTS}
    assert counted == {"keras": False, "torch": True, "onnx": False, "jax": True}

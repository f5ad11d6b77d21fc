"""Keras models: shapes, parameters and MACs against Keras's own, and files that run nothing."""

import json
import os
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras

from convscape.arithmetic import InputError
from convscape.arithmetic.network import Network
from convscape.readers import trace
from convscape.readers.keras import read_config
from convscape.readers.keras.windows import transposed

L = keras.layers

# Receptive field of the last map: Araujo et al., Distill 2019, table 1, where it lists the network
# (VGG-16 212, ResNet-50 483, Inception-v3 1311).
APPLICATIONS = {
    "VGG16": 212,
    "ResNet50": 483,
    "InceptionV3": 1311,
    "MobileNetV2": None,
    "EfficientNetB0": None,
}


def without_storage() -> Any:
    """On the torch backend weights need no memory, so that large models are made at once."""
    return keras.device("meta") if keras.backend.backend() == "torch" else nullcontext()


@pytest.fixture(scope="module", params=list(APPLICATIONS))
def application(request: pytest.FixtureRequest) -> tuple[Any, Network]:
    with without_storage():
        model = getattr(keras.applications, request.param)(weights=None)
    model.convscape_name = request.param
    return model, trace(model)


def keras_macs(layer: Any) -> int:
    """Multiply-accumulates from the layer's weights and output, by no formula of ours."""
    if isinstance(layer, (L.Conv2D, L.DepthwiseConv2D)):
        return int(prod(layer.output.shape[1:3]) * prod(layer.kernel.shape))
    return int(prod(layer.kernel.shape)) if isinstance(layer, L.Dense) else 0


def test_every_layer_of_an_application_agrees_with_keras(
    application: tuple[Any, Network],
) -> None:
    model, network = application
    assert [n.name for n in network.layers] == [
        layer.name for layer in model.layers if not isinstance(layer, L.InputLayer)
    ]
    for node in network.layers:
        layer = model.get_layer(node.name)
        assert node.problem == ""
        assert network.shape(node) == tuple(layer.output.shape[1:]), node.name
        assert node.params == layer.count_params(), node.name
        assert node.macs == keras_macs(layer), node.name
    assert network.totals.params == model.count_params()
    trainable = sum(prod(w.shape) for w in model.trainable_weights)
    assert network.totals.trainable == trainable


def test_the_last_map_of_an_application_has_its_published_field(
    application: tuple[Any, Network],
) -> None:
    model, network = application
    maps = [n for n in network.layers if len(network.shape(n) or ()) == 3 and network.jump(n)[0]]
    wanted = APPLICATIONS[model.convscape_name]
    if wanted:
        assert network.local_field(maps[-1]) == (wanted, wanted)
    assert network.jump(maps[-1]) == (Fraction(32), Fraction(32))


def zoo() -> list[tuple[str, Any, tuple[int, ...]]]:
    """One small stack for each rule, with the shape that it is fed."""
    image, row, volume = (12, 10, 4), (15, 4), (6, 7, 8, 2)
    return [
        ("same", L.Conv2D(6, (3, 2), 2, "same"), image),
        ("dilated", L.Conv2D(6, 3, dilation_rate=(2, 1)), image),
        ("grouped", L.Conv2D(8, 3, groups=2, use_bias=False), image),
        ("first", L.Conv2D(8, 3, data_format="channels_first"), (4, 9, 11)),
        ("causal", L.Conv1D(3, 4, padding="causal", dilation_rate=2), row),
        ("volume", L.Conv3D(2, 3, 2, "same"), volume),
        ("depthwise", L.DepthwiseConv2D(3, 2, "same", depth_multiplier=2), image),
        ("depthwise1", L.DepthwiseConv1D(3), row),
        ("separable", L.SeparableConv2D(5, 3, depth_multiplier=2), image),
        ("separable1", L.SeparableConv1D(5, 3, strides=2), row),
        ("up-same", L.Conv2DTranspose(3, 3, 2, "same"), image),
        ("up-valid", L.Conv2DTranspose(3, 2, 3, "valid"), image),
        ("up-extra", L.Conv2DTranspose(3, 3, 2, "same", output_padding=1), image),
        ("up-row", L.Conv1DTranspose(2, 5, 3), row),
        ("up-volume", L.Conv3DTranspose(2, 3, 2, "same"), volume),
        ("max", L.MaxPooling2D(3, 2, "same"), image),
        ("max-default", L.MaxPooling1D(4), row),
        ("average", L.AveragePooling2D((2, 3)), image),
        ("average3", L.AveragePooling3D(2, padding="same"), volume),
        ("global", L.GlobalAveragePooling2D(keepdims=True), image),
        ("global-max", L.GlobalMaxPooling1D(), row),
        ("pad", L.ZeroPadding2D(((1, 2), (0, 3))), image),
        ("pad1", L.ZeroPadding1D((1, 2)), row),
        ("crop", L.Cropping2D(((1, 2), (0, 3))), image),
        ("crop1", L.Cropping1D(2), row),
        ("up", L.UpSampling2D((2, 3), interpolation="bilinear"), image),
        ("up1", L.UpSampling1D(3), row),
        ("resizing", L.Resizing(7, 5), image),
        ("norm", L.BatchNormalization(scale=False), image),
        ("layer-norm", L.LayerNormalization(axis=(1, 2)), image),
        ("group-norm", L.GroupNormalization(2), image),
        ("normalization", L.Normalization(), image),
        ("prelu", L.PReLU(shared_axes=[1, 2]), image),
        ("softmax", L.Softmax(axis=1), image),
        ("flatten", L.Flatten(), image),
        ("reshape", L.Reshape((-1, 8)), image),
        ("permute", L.Permute((3, 1, 2)), image),
        ("repeat", L.RepeatVector(3), (5,)),
        ("dense", L.Dense(7), image),
        ("dropout", L.SpatialDropout2D(0.3), image),
        ("activation", L.Activation("hard_silu"), image),
        ("rescaling", L.Rescaling(1 / 255), image),
        ("flip", L.RandomFlip(), image),
    ]


def test_every_rule_agrees_with_keras() -> None:
    for name, layer, shape in zoo():
        x = keras.Input(shape)
        model = keras.Model(x, layer(x))
        network = trace(model)
        last = network.nodes[network.outputs[0]]
        assert last.problem == "", name
        assert network.shape(last) == tuple(model.output.shape[1:]), name
        assert network.totals.params == model.count_params(), name


def test_merging_layers_and_operations_agree_with_keras() -> None:
    a, b = keras.Input((8, 8, 4), name="a"), keras.Input((8, 8, 4), name="b")
    y = L.Concatenate()([L.Add()([a, b]), L.Multiply()([a, b]), L.Maximum()([a, b])])
    y = keras.ops.relu(y + 1.0) * 2.0 - y
    y = keras.ops.transpose(y, (0, 3, 1, 2))
    z = keras.ops.mean(y, axis=(2, 3), keepdims=True)
    y = keras.ops.reshape(y * keras.ops.sigmoid(z), (-1, 12, 64))
    model = keras.Model([a, b], {"map": y, "gate": z})
    network = trace(model)
    assert network.totals.unknown == 0
    shapes = {network.shape(network.nodes[i]) for i in network.outputs}
    assert shapes == {(12, 64), (12, 1, 1)}
    made = {operation.name: operation for operation in model.operations}
    for node in network.layers:
        assert network.shape(node) == tuple(made[node.name].output.shape[1:])


def test_nested_and_shared_models_count_their_weights_once() -> None:
    inner = keras.Sequential([L.Conv2D(3, 3, padding="same"), L.ReLU()], name="inner")
    x = keras.Input((9, 9, 3))
    y = inner(inner(x))
    model = keras.Model(x, L.Add()([x, y]))
    network = trace(model)
    assert network.totals.params == model.count_params()
    assert sum(n.op == "conv" for n in network.layers) == 2
    assert network.receptive_field(network.nodes[-1]) == (5, 5)
    assert network.totals.macs == 2 * 81 * 27 * 3


def test_a_frozen_layer_has_no_trainable_parameters() -> None:
    layer = L.Conv2D(3, 3)
    layer.trainable = False
    network = trace(keras.Sequential([keras.Input((8, 8, 3)), layer]))
    assert (network.totals.params, network.totals.trainable) == (84, 0)


def test_a_subclassed_model_is_followed_on_symbols() -> None:
    class Net(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.flat, self.out = L.Conv2D(4, 3), L.Flatten(), L.Dense(2)

        def call(self, x: Any) -> Any:
            return self.out(self.flat(keras.ops.relu(self.conv(x))))

    network = trace(Net(), (8, 8, 3))
    assert [n.op for n in network.layers] == ["conv", "relu", "flatten", "dense"]
    with pytest.raises(InputError, match="--input"):
        trace(Net())


@keras.saving.register_keras_serializable("convscape-tests")
class Custom(L.Layer):  # type: ignore[misc, name-defined]
    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 5))

    def call(self, x: Any) -> Any:
        return x @ self.kernel


def test_an_unknown_layer_is_named_and_the_rest_is_traced() -> None:
    x = keras.Input((8, 8, 3))
    y = L.Conv2D(2, 3, name="after")(Custom(name="odd")(L.AveragePooling2D(1)(x)))
    network = trace(keras.Model(x, y))
    odd, after = network.node("odd"), network.node("after")
    assert "Custom" in odd.problem
    assert odd.params == 15
    assert network.shape(after) == (6, 6, 2)
    assert after.params == 5 * 9 * 2 + 2
    assert network.receptive_field(after) == (None, None)


def test_a_custom_class_is_not_taken_for_its_namesake() -> None:
    class ReLU(L.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return x[:, ::2]

    x = keras.Input((8, 8, 3))
    registered = keras.saving.register_keras_serializable("convscape-tests")(ReLU)
    for number, kind in enumerate((ReLU, registered)):
        half = kind(name=f"half{number}")(L.Flatten()(x))
        assert "ReLU" in trace(keras.Model(x, half)).node(f"half{number}").problem


def test_mixed_precision_halves_activations_and_keeps_weights() -> None:
    x = keras.Input((8, 8, 3))
    network = trace(keras.Model(x, L.Conv2D(4, 3, dtype="mixed_float16")(x)))
    assert network.nodes[-1].bytes == 2 * 36 * 4
    assert network.totals.weight_bytes == 4 * 112


@pytest.mark.parametrize(("k", "s", "d"), [(3, 2, 1), (2, 3, 1), (4, 2, 1), (3, 1, 2), (1, 2, 1)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_transposed_window_has_keras_size(k: int, s: int, d: int, padding: str) -> None:
    for extra in (None, 0, *range(1, s)):
        layer = L.Conv1DTranspose(1, k, s, padding, output_padding=extra, dilation_rate=d)
        for n in (1, 5, 8):
            size = transposed(k, s, d, padding, extra).output(n)
            try:
                wanted = layer.compute_output_shape((1, n, 1))[1]
            except ValueError:
                continue
            if wanted > 0:
                assert size == wanted


# -- files ---------------------------------------------------------------------------------------


def save(path: Path, config: Any) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
    return path


def test_a_file_reads_as_its_model_does(tmp_path: Path) -> None:
    x = keras.Input((16, 16, 3))
    y = L.GlobalAveragePooling2D()(L.BatchNormalization()(L.Conv2D(4, 3, 2, "same")(x)))
    model = keras.Model(x, L.Dense(2)(y))
    model.save(tmp_path / "net.keras")
    network, live = trace(tmp_path / "net.keras"), trace(model)
    assert network.totals == live.totals
    assert [n.shape for n in network.nodes] == [n.shape for n in live.nodes]


EVIL = """
import json, sys, zipfile
from pathlib import Path
from convscape.readers import trace
net = trace(sys.argv[1])
assert not Path(sys.argv[2]).exists(), "code in the file was run"
loaded = {"keras", "torch", "tensorflow", "pickle", "marshal_loads"} & set(sys.modules)
assert not {"keras", "torch"} & loaded, loaded
print([n.problem for n in net.layers])
"""


def test_a_malicious_file_runs_nothing(tmp_path: Path) -> None:
    """A Lambda with code, classes from `os`, and functions by name: all are words to us."""
    proof = tmp_path / "proof"
    tensor = {"shape": [None, 4], "dtype": "float32", "keras_history": ["x", 0, 0]}
    calls = [{"args": [{"class_name": "__keras_tensor__", "config": tensor}], "kwargs": {}}]
    shell = f"touch {proof}"
    layers: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "name": "x", "config": {"batch_shape": [None, 4]},
         "inbound_nodes": []},
        {"class_name": "Lambda", "name": "evil", "module": "keras.layers", "inbound_nodes": calls,
         "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}},
                    "arguments": {}}},
        {"class_name": "system", "name": "shell", "module": "os", "inbound_nodes": calls,
         "config": {"command": shell}},
        {"class_name": "function", "name": "f", "module": "builtins", "registered_name": "exec",
         "inbound_nodes": calls, "config": {"source": f"__import__('os').system('{shell}')"}},
    ]  # fmt: skip
    config = {"class_name": "Functional", "module": "keras", "config": {
        "name": "evil", "layers": layers, "input_layers": ["x", 0, 0],
        "output_layers": ["evil", 0, 0]}}  # fmt: skip
    layers.append({"class_name": "Dense", "name": "good", "config": {"units": 3},
                   "inbound_nodes": calls})  # fmt: skip
    path = save(tmp_path / "evil.keras", config)
    done = subprocess.run(
        [sys.executable, "-c", EVIL, str(path), str(proof)], capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no rule for") == 3


def functional(*layers: dict[str, Any], output: str = "x") -> dict[str, Any]:
    return {"class_name": "Functional", "config": {
        "name": "net", "input_layers": ["x", 0, 0], "output_layers": [output, 0, 0], "layers": [
            {"class_name": "InputLayer", "name": "x", "config": {"batch_shape": [None, 8, 8, 3]},
             "inbound_nodes": []}, *layers]}}  # fmt: skip


def calling(name: str, reads: str, kind: str = "ReLU", **config: Any) -> dict[str, Any]:
    history = {"class_name": "__keras_tensor__", "config": {"keras_history": [reads, 0, 0]}}
    return {"class_name": kind, "name": name, "config": config,
            "inbound_nodes": [{"args": [history], "kwargs": {}}]}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("not json", "config.json"),
        ("[]", "config.json"),
        ('{"class_name": "Net", "config": {}}', "functional and sequential"),
        (functional(calling("a", "b"), calling("b", "a"), output="a"), "circle"),
        (functional(calling("a", "missing"), output="a"), "circle"),
        (functional(calling("a", "x"), output="nothing"), "Keras 3"),
        (functional({"class_name": "ReLU", "name": "old", "config": {}, "inbound_nodes":
                     [[["x", 0, 0, {}]]]}, output="old"), "Keras 2"),
        (functional(calling("c", "x", "Conv2D", kernel_size=[0, 3], filters=2), output="c"),
         "kernel must be at least 1"),
        (functional(calling("c", "x", "Conv2D", kernel_size="big", filters=2), output="c"),
         "kernel_size"),
        (functional(calling("c", "x", "Conv2D", kernel_size=[9, 9], filters=2), output="c"), "fit"),
        (functional(calling("d", "x", "Dense", units=10**30), output="d"), "cells"),
        ("[" * 100_000, "config.json"),
    ],
    ids=["text", "list", "class", "circle", "missing", "output", "old", "zero", "word", "unfit",
         "huge", "deep"],
)  # fmt: skip
def test_a_broken_file_is_one_clear_error(tmp_path: Path, config: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        trace(save(tmp_path / "net.keras", config))


def test_a_file_that_is_no_archive_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(b"no zip at all")
    with pytest.raises(InputError, match="zip archive"):
        trace(path)
    whole = save(path, functional(calling("a", "x"), output="a")).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="zip archive"):
        trace(path)
    with pytest.raises(InputError, match="exist"):
        trace(tmp_path / "missing.keras")


def test_inputs_that_are_open_or_fixed_are_told() -> None:
    model = keras.Sequential([keras.Input((None, None, 3)), L.Conv2D(2, 3)])
    with pytest.raises(InputError, match="leaves open"):
        trace(model)
    assert trace(model, (9, 7, 3)).nodes[-1].shape == (1, 7, 5, 2)
    with pytest.raises(InputError, match="fixed"):
        trace(model, (9, 7, 4))
    with pytest.raises(InputError, match="every input"):
        trace(model, [(9, 7, 3), (9, 7, 3)])
    with pytest.raises(InputError, match="at least 1"):
        trace(model, (0, 7, 3))
    assert read_config(model.get_config(), [(5, 5, 3)]).nodes[-1].shape == (1, 3, 3, 2)

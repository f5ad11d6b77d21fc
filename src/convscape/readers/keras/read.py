"""Reads Keras models from their configuration: nothing is built or run, no weight is loaded.

A live model gives its configuration by `get_config()`; a `.keras` file holds it as JSON, which is
only parsed. A layer class that is not in the table becomes an unknown node.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Network, Node, Weight
from convscape.readers.keras.call import Call
from convscape.readers.keras.table import LAYERS
from convscape.readers.keras.trees import (
    filled,
    first_line,
    histories,
    history,
    nodes_in,
    tensors_in,
)

MAX_CONFIG = 64 << 20
"""Largest config.json that is read, in bytes."""


Config = Mapping[str, Any]


def read_model(
    model: Any, input_shape: Sequence[Sequence[int]] | None = None, batch: int = 1
) -> Network:
    """A live `keras.Model`: functional, sequential, nested, or subclassed over Keras layers.

    Args:
        model: The model. A subclassed one is called once on symbolic tensors (no numbers).
        input_shape: One shape an input, without batch; needed where the model leaves sizes open.
        batch: Samples in a batch.

    Raises:
        InputError: The model is not built of layers that can be listed, or its input is open.
    """
    name = getattr(model, "name", type(model).__name__)
    if type(model).__name__ not in ("Functional", "Sequential"):
        model = _functional(model, input_shape, batch)
    live: dict[str, Any] = {}
    _collect(model, "", live)
    return _read(name, model.get_config(), input_shape, batch, live)


def read_file(
    path: Path, input_shape: Sequence[Sequence[int]] | None = None, batch: int = 1
) -> Network:
    """A `.keras` file: its config.json is parsed; no code in it is run and no weight is read.

    Raises:
        InputError: It is not a `.keras` file, or its model is subclassed (no graph is stored).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo("config.json").file_size
            if size > MAX_CONFIG:
                raise InputError(
                    f"config.json must be at most {MAX_CONFIG} bytes", f"{size} in {path}",
                    "check where the file comes from",
                )  # fmt: skip
            with archive.open("config.json") as file:
                text = file.read(MAX_CONFIG + 1)
        config = json.loads(text)
        kind, inner = config["class_name"], config["config"]
    except (zipfile.BadZipFile, KeyError, TypeError, OSError, EOFError, RuntimeError,
            NotImplementedError, ValueError, RecursionError) as error:  # fmt: skip
        if isinstance(error, InputError):
            raise
        raise InputError(
            "a .keras file is a zip archive with the model's config.json",
            f"{path}: {type(error).__name__}: {first_line(error)}",
            "save it again with model.save('net.keras')",
        ) from None
    if not isinstance(inner, dict) or not isinstance(inner.get("layers"), list):
        raise InputError(
            "only functional and sequential models store their layers",
            f"{path}: a {kind}",
            "trace the model object instead: convscape trace package.module:factory",
        )
    return _read(str(inner.get("name", path.stem)), inner, input_shape, batch, {})


def read_config(
    config: Config, input_shape: Sequence[Sequence[int]] | None = None, batch: int = 1
) -> Network:
    """The configuration of a functional or sequential model, as `model.get_config()` gives it."""
    return _read(str(config.get("name", "model")), config, input_shape, batch, {})


def _functional(model: Any, shapes: Sequence[Sequence[int]] | None, batch: int) -> Any:
    """A functional model of a subclassed one, from calling it on symbolic tensors."""
    import keras

    if shapes is None:
        raise InputError(
            "a subclassed model needs its input's shape", f"{type(model).__name__}",
            "give --input, e.g. --input 224x224x3",
        )  # fmt: skip
    inputs = [keras.Input(tuple(s), batch_size=batch) for s in shapes]
    try:
        return keras.Model(inputs, model.call(*inputs))
    except Exception as error:
        raise InputError(
            "a subclassed model must be callable on symbolic tensors",
            f"{type(model).__name__}: {type(error).__name__}: {first_line(error)}",
            "build it with the functional API, or check the input shape",
        ) from None


def _collect(model: Any, prefix: str, live: dict[str, Any]) -> None:
    for place, layer in enumerate(model.layers):
        live[f"{prefix}#{place}"] = layer  # a layer in a sequence may not say its name
        live[prefix + layer.name] = layer
        if type(layer).__name__ in ("Functional", "Sequential"):
            _collect(layer, f"{prefix}{layer.name}/", live)


def _read(
    name: str,
    config: Config,
    shapes: Sequence[Sequence[int]] | None,
    batch: int,
    live: Mapping[str, Any],
) -> Network:
    reader = _Reader(Builder(name, "keras", batch), live)
    try:
        outputs = reader.model(config, None, "", shapes)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "the model's configuration must be one that Keras 3 writes",
            f"{name}: {type(error).__name__}: {first_line(error)}",
            "save it again with Keras 3",
        ) from None
    return reader.builder.network(outputs, "config")


class _Reader:
    def __init__(self, builder: Builder, live: Mapping[str, Any]) -> None:
        self.builder, self.live = builder, live

    def model(
        self,
        config: Config,
        inputs: list[Node] | None,
        prefix: str,
        shapes: Sequence[Sequence[int]] | None = None,
    ) -> list[Node]:
        """The outputs of a model, nested in another where inputs are given."""
        if "input_layers" in config:
            return self._functional(config, inputs, prefix, shapes)
        return self._sequential(config, inputs, prefix, shapes)

    def _sequential(
        self,
        config: Config,
        inputs: list[Node] | None,
        prefix: str,
        shapes: Sequence[Sequence[int]] | None,
    ) -> list[Node]:
        layers = list(config["layers"])
        first = layers[0] if layers else {}
        stated = None
        if first.get("class_name") == "InputLayer":
            stated = first["config"].get("batch_shape") or first["config"].get("batch_input_shape")
            layers = layers[1:]
        stated = stated or config.get("build_input_shape")
        if inputs is None:
            inputs = [self._input("input", stated, "float32", shapes, 0, 1)]
        for place, layer in enumerate(layers):
            if "name" not in layer and "name" not in layer["config"]:
                there = self.live.get(f"{prefix}#{place}")
                layer = {**layer, "name": getattr(there, "name", f"layer_{place}")}
            following = layers[place + 1] if place + 1 < len(layers) else {}
            stated = (following.get("build_config") or {}).get("input_shape")
            inputs = self._layer(layer, inputs, inputs, {}, prefix, self._stated(stated))
        return inputs

    def _functional(
        self,
        config: Config,
        inputs: list[Node] | None,
        prefix: str,
        shapes: Sequence[Sequence[int]] | None,
    ) -> list[Node]:
        layers = {layer["name"]: layer for layer in config["layers"]}
        ends = [history(h) for h in histories(config["input_layers"])]
        values: dict[tuple[str, int], list[Node]] = {}
        for at, (name, _, _) in enumerate(ends):
            inner = layers[name]["config"]
            if inputs is None:
                stated = inner.get("batch_shape") or inner.get("batch_input_shape")
                dtype = inner.get("dtype")
                node = self._input(
                    name, stated, dtype if isinstance(dtype, str) else "float32",
                    shapes, at, len(ends),
                )  # fmt: skip
            else:
                node = inputs[at]
            values[name, 0] = [node]
        shown: dict[tuple[str, int], tuple[int, ...] | None] = {}
        for layer in layers.values():
            self._state(layer.get("inbound_nodes", ()), shown)
        for name, index in self._order(layers, values):
            call = layers[name]["inbound_nodes"][index]
            args = filled(call["args"], values)
            kwargs = filled(call.get("kwargs", {}), values)
            found: list[Node] = []
            nodes_in((args, kwargs), found)
            values[name, index] = self._layer(
                layers[name], found, args, kwargs, prefix, shown.get((name, index))
            )
        results = [history(h) for h in histories(config["output_layers"])]
        return [values[name, index][at] for name, index, at in results]

    def _order(
        self, layers: Mapping[str, Config], values: Mapping[tuple[str, int], Any]
    ) -> list[tuple[str, int]]:
        """Every call of every layer, each after the calls whose outputs it reads."""
        needs: dict[tuple[str, int], set[tuple[str, int]]] = {}
        for name, layer in layers.items():
            for index, call in enumerate(layer.get("inbound_nodes", ())):
                if (name, index) in values:
                    continue
                if not isinstance(call, dict):
                    raise InputError(
                        "the model's configuration must be one that Keras 3 writes",
                        f"layer {name} in the form of Keras 2",
                        "load it with Keras 3 and save it again",
                    )
                found: list[Any] = []
                tensors_in((call["args"], call.get("kwargs", {})), found)
                needs[name, index] = {(n, i) for n, i, _ in map(history, found)} - values.keys()
        order: list[tuple[str, int]] = []
        place = {call: i for i, call in enumerate(needs)}  # Keras lists layers as it runs them
        waiting: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for call, before in needs.items():
            for other in before:
                waiting.setdefault(other, []).append(call)
        ready = [(place[call], call) for call, before in needs.items() if not before]
        while ready:
            _, done = heappop(ready)
            order.append(done)
            for call in waiting.get(done, ()):
                needs[call].discard(done)
                if not needs[call]:
                    heappush(ready, (place[call], call))
        if len(order) < len(needs):
            raise InputError(
                "the layers of a model must not wait for one another in a circle",
                f"{len(needs) - len(order)} calls that never get their inputs",
                "check where the file comes from",
            )
        return order

    def _stated(self, shape: Any) -> tuple[int, ...] | None:
        """A shape that the configuration states, where only the batch is left open."""
        if not isinstance(shape, (list, tuple)) or not shape:
            return None
        known = (self.builder.batch, *shape[1:])
        return known if all(isinstance(n, int) and n > 0 for n in known) else None

    def _state(self, tree: Any, out: dict[tuple[str, int], tuple[int, ...] | None]) -> None:
        """Collects the shapes of the tensors in a call's arguments, by who makes them."""
        if isinstance(tree, dict) and tree.get("class_name") == "__keras_tensor__":
            name, index, at = history(tree["config"]["keras_history"])
            if at == 0:
                out[name, index] = self._stated(tree["config"].get("shape"))
        elif isinstance(tree, (dict, list, tuple)):
            for part in tree.values() if isinstance(tree, dict) else tree:
                self._state(part, out)

    def _input(
        self,
        name: str,
        stated: Sequence[int | None] | None,
        dtype: str,
        shapes: Sequence[Sequence[int]] | None,
        at: int,
        count: int,
    ) -> Node:
        if shapes is not None and len(shapes) != count:
            raise InputError(
                "every input of the model needs a shape", f"{len(shapes)} for {count} inputs",
                "give --input once an input",
            )  # fmt: skip
        given = tuple(shapes[at]) if shapes is not None else None
        known = tuple(stated[1:]) if stated else None
        if given is None and (known is None or None in known):
            raise InputError(
                "an input whose size the model leaves open must be given",
                f"input {name} is {known or 'not stated'}",
                "give --input, e.g. --input 224x224x3",
            )
        if given is not None and known is not None and (
            len(given) != len(known)
            or any(k is not None and k != g for g, k in zip(given, known, strict=True))
        ):  # fmt: skip
            raise InputError(
                f"input {name} of the model is fixed to {known}", f"{given}",
                "leave --input out, or build the model for this size",
            )  # fmt: skip
        shape = given if given is not None else tuple(n for n in known or () if n is not None)
        return self.builder.input(name, (self.builder.batch, *shape), dtype)

    def _layer(
        self,
        layer: Config,
        inputs: list[Node],
        args: Any,
        kwargs: Config,
        prefix: str,
        stated: tuple[int, ...] | None,
    ) -> list[Node]:
        inner = layer["config"]
        name = prefix + str(layer.get("name") or inner["name"])
        if isinstance(inner.get("layers"), list) and "layer" not in inner:
            return self.model(inner, inputs, f"{name}/")
        kind = layer["class_name"]
        call = Call(self.builder, name, kind, inner, inputs, args, kwargs)
        rule = LAYERS.get(kind)
        if rule is None or _foreign(layer):
            object_ = self.live.get(name)
            weights = _live_weights(name, object_)
            why = f"no rule for {layer.get('module') or 'the custom class'} {kind}"
            if object_ is None:
                why += "; its weights are not counted"
            if stated is not None:
                why += "; its shape is the configuration's"
            return [self.builder.unknown(name, kind, inputs, why, weights, stated)]
        return [self.builder.attempt(name, kind, inputs, lambda: rule(call), call.stored())]


def _foreign(layer: Config) -> bool:
    """Whether a class only shares its name with one of Keras: custom ones state no module."""
    module = layer.get("module", "keras")
    return module is None or str(module).split(".")[0] != "keras"


def _live_weights(name: str, layer: Any) -> list[Weight]:
    if layer is None:
        return []
    return [
        Weight(f"{name}/{w.path}", tuple(w.shape), bool(w.trainable), False, str(w.dtype))
        for w in getattr(layer, "weights", ())
    ]

"""What a rule for a Keras layer is given, and helpers that the rules share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.geometry import per_axis
from convscape.arithmetic.network import Node, Weight


@dataclass(slots=True)
class Call:
    """One call of a layer: what a rule may look at.

    Args:
        builder: Where the node goes.
        name: The layer, with the models it is nested in.
        kind: Its class.
        config: Its configuration.
        inputs: Its input tensors.
        args: Its positional arguments, constants included.
        kwargs: Its keyword arguments.
    """

    builder: Builder
    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: list[Node]
    args: Any
    kwargs: Mapping[str, Any]
    made: list[Weight] = field(default_factory=list)

    @property
    def x(self) -> Node:
        """Its first input."""
        return self.inputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its first input."""
        assert self.x.shape is not None  # Builder.attempt does not call rules without it
        return self.x.shape

    @property
    def last(self) -> bool:
        """Whether channels are the last axis."""
        return self.config.get("data_format") != "channels_first"

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return len(self.shape) - 1 if self.last else 1

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes."""
        rank = len(self.shape)
        return tuple(range(1, rank - 1)) if self.last else tuple(range(2, rank))

    @property
    def spatial(self) -> tuple[int, ...]:
        """Cells of the spatial axes."""
        return tuple(self.shape[a] for a in self.axes)

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return self.shape[self.channel_axis]

    @property
    def dtype(self) -> str:
        """Type of the numbers it computes."""
        policy = self.config.get("dtype")
        if isinstance(policy, Mapping):
            policy = policy.get("config", {}).get("name")
        return str(policy or self.x.dtype).removeprefix("mixed_")

    def weight(self, name: str, *shape: int, trainable: bool = True) -> Weight:
        """A weight of the layer; frozen with it."""
        frozen = self.config.get("trainable") is False
        weight = Weight(f"{self.name}/{name}", shape, trainable and not frozen)
        self.made.append(weight)
        return weight

    def stored(self) -> list[Weight]:
        """The weights that its rule has named so far."""
        return self.made

    def per_axis(self, key: str) -> tuple[int, ...]:
        """A setting as one value a spatial axis."""
        value = self.config.get(key)
        return per_axis(key, 1 if value is None else value, len(self.axes))


Rule = Callable[[Call], Node]


def settings_of(call: Call) -> dict[str, object]:
    """How a layer with weights is spelled, for the findings."""
    return {
        "dialect": "keras",
        "padding": call.config.get("padding", "valid"),
        "bias": bool(call.config.get("use_bias", False)),
        "activation": word_for(call.config.get("activation")),
    }


def word_for(activation: Any) -> str:
    """Our word for an activation given by name or as a serialized object."""
    if isinstance(activation, Mapping):
        activation = activation.get("config", activation.get("class_name"))
        if isinstance(activation, Mapping):
            activation = activation.get("name")
    words = {
        None: "identity", "linear": "identity", "swish": "silu", "hard_sigmoid": "hardsigmoid",
        "hard_swish": "hardswish", "hard_silu": "hardswish",
    }  # fmt: skip
    return str(words.get(activation, activation))


def under_names(names: str, rule: Rule) -> dict[str, Rule]:
    """One rule under several names."""
    return dict.fromkeys(names.split(), rule)


def by_rank(name: str, rule: Rule) -> dict[str, Rule]:
    """One rule for one, two and three axes."""
    return {f"{name}{rank}D": rule for rank in (1, 2, 3)}

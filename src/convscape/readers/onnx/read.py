"""Reads ONNX files: the graph is parsed, nothing is run and no external data is opened."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Network, Node, Weight
from convscape.readers.onnx.call import Call, Numbers
from convscape.readers.onnx.shapes import SHAPES
from convscape.readers.onnx.table import OPERATORS

MAX_BYTES = 2 << 30
"""Largest file that is read: protobuf itself ends here; larger models keep weights outside."""


MAX_NUMBERS = 4096
"""Largest integer constant that is read as numbers; they hold shapes and axes."""


def read_file(
    path: Path, input_shape: Sequence[Sequence[int]] | None = None, batch: int | None = None
) -> Network:
    """The network of an ONNX file.

    Args:
        path: The file.
        input_shape: One shape an input, without the batch axis; needed where the file leaves
            sizes open.
        batch: Samples in a batch; by default the file's, or 1 where it leaves that open.

    Raises:
        InputError: It is no ONNX file, the `onnx` package is missing, or an input is open.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            "reading ONNX files needs the onnx package",
            "no module named onnx",
            "pip install 'convscape[onnx]'",
        ) from None
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(
            f"an ONNX file has at most {MAX_BYTES} bytes", f"{size} in {path}",
            "store its weights as external data, which is not read",
        )  # fmt: skip
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        if model.functions:
            from onnx.inliner import inline_local_functions

            model = inline_local_functions(model)
    except Exception as error:  # protobuf and the inliner raise classes of their own
        raise InputError(
            "an ONNX file must be a whole ModelProto",
            f"{path}: {type(error).__name__}: {_line(error)}",
            "export it again",
        ) from None
    if not model.graph.node:
        raise InputError(
            "an ONNX file must hold a graph", f"{path}: no operators", "export it again"
        )
    return _Reader(model, onnx, path, input_shape, batch).read()


class _Reader:
    def __init__(
        self,
        model: Any,
        onnx: Any,
        path: Path,
        shapes: Sequence[Sequence[int]] | None,
        batch: int | None,
    ) -> None:
        self.graph, self.onnx, self.path = model.graph, onnx, path
        self.shapes = shapes
        self.values: dict[str, Any] = {}
        self.stated: dict[str, tuple[int, ...] | None] = {}
        self.batch = batch if batch is not None else self._batch()
        self.given_batch = batch
        self.builder = Builder(model.graph.name or path.stem, "onnx", self.batch)
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
                         default=1)  # fmt: skip

    def read(self) -> Network:
        for tensor in self.graph.initializer:
            self.values[tensor.name] = self._constant(tensor, stored=True)
        for tensor in self.graph.sparse_initializer:
            self.values[tensor.values.name] = Weight(tensor.values.name, tuple(tensor.dims))
        inputs = [i for i in self.graph.input if i.name not in self.values]
        if self.shapes is not None and len(self.shapes) != len(inputs):
            raise InputError(
                "every input of the graph needs a shape",
                f"{len(self.shapes)} for {', '.join(i.name for i in inputs)}",
                "give --input once an input",
            )
        for at, value in enumerate(inputs):
            self._input(value, self.shapes[at] if self.shapes is not None else None)
        for info in (*self.graph.value_info, *self.graph.output):
            self.stated[info.name] = self._dims(info)
        for node in self.graph.node:
            self._node(node)
        outputs = [self.values.get(o.name) for o in self.graph.output]
        return self.builder.network([o for o in outputs if isinstance(o, Node)], "graph")

    def _batch(self) -> int:
        held = {t.name for t in self.graph.initializer}
        for value in self.graph.input:
            dims = value.type.tensor_type.shape.dim
            if value.name not in held and dims:
                return max(int(dims[0].dim_value), 0) or 1
        return 1

    def _type(self, number: int) -> str:
        name = str(self.onnx.TensorProto.DataType.Name(number)).lower()
        return {"float": "float32", "double": "float64"}.get(name, name)

    def _constant(self, tensor: Any, stored: bool = False) -> Any:
        """An initializer: small integers as numbers, which shapes are made of; else a weight."""
        dims = tuple(int(d) for d in tensor.dims)
        kinds = self.onnx.TensorProto
        if any(d < 0 for d in dims):
            raise InputError("sizes must not be negative", f"{tensor.name}: {dims}", "export again")
        cells = 1
        for d in dims:
            cells *= d
        small = len(dims) < 2 and cells <= MAX_NUMBERS
        external = tensor.data_location == kinds.EXTERNAL
        if small and not external and tensor.data_type in (kinds.INT64, kinds.INT32, kinds.FLOAT):
            try:
                array = self.onnx.numpy_helper.to_array(tensor)
            except (ValueError, TypeError) as error:
                raise InputError(
                    "an initializer must hold as many numbers as its shape says",
                    f"{tensor.name}: {_line(error)}", "export the file again",
                ) from None  # fmt: skip
            return Numbers(
                tensor.name, dims, array.reshape(-1).tolist(), self._type(tensor.data_type), stored
            )
        return Weight(tensor.name, dims, stored, not stored, self._type(tensor.data_type))

    def _dims(self, info: Any) -> tuple[int, ...] | None:
        dims = [int(d.dim_value) for d in info.type.tensor_type.shape.dim]
        known = info.type.tensor_type.HasField("shape") and all(d > 0 for d in dims)
        return tuple(dims) if known else None

    def _input(self, info: Any, given: Sequence[int] | None) -> None:
        dims = [int(d.dim_value) for d in info.type.tensor_type.shape.dim]
        dtype = self._type(info.type.tensor_type.elem_type)
        if given is None:
            if not dims or any(d <= 0 for d in dims[1:]):
                shown = [d or "?" for d in dims]
                raise InputError(
                    "an input whose size the file leaves open must be given",
                    f"{info.name} is {shown}", "give --input, e.g. --input 3x224x224",
                )  # fmt: skip
            given = dims[1:]
        if dims and (
            len(given) != len(dims) - 1
            or any(d > 0 and d != g for g, d in zip(given, dims[1:], strict=True))
        ):
            raise InputError(
                f"the file fixes {info.name} to {[d or '?' for d in dims[1:]]} a sample",
                f"{tuple(given)}", "leave --input out, or export for this size",
            )  # fmt: skip
        self.values[info.name] = self.builder.input(info.name, (self.batch, *given), dtype)

    def _node(self, node: Any) -> None:
        name = node.name or (node.output[0] if node.output else node.op_type)
        missing = [i for i in node.input if i and i not in self.values]
        attributes = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute
                      if a.type not in (a.GRAPH, a.GRAPHS)}  # fmt: skip
        args = [self.values.get(i) if i else None for i in node.input]
        if node.op_type == "Constant" and not missing:
            self.values[node.output[0]] = self._constant_node(node.output[0], attributes)
            return
        call = Call(self.builder, name, attributes, args, self.opset, len(node.output))
        if node.op_type in SHAPES and not missing:
            folded = SHAPES[node.op_type](call)
            if folded is not None:
                self.values[node.output[0]] = folded
                return
        self._operator(node, call, missing)

    def _constant_node(self, name: str, attributes: Mapping[str, Any]) -> Any:
        for key, value in attributes.items():
            if key == "value":
                value.name = name
                return self._constant(value)
            if key in ("value_int", "value_float"):
                return Numbers(name, (), [value], "int64" if key == "value_int" else "float32")
            if key in ("value_ints", "value_floats"):
                numbers = list(value)
                dtype = "int64" if key == "value_ints" else "float32"
                return Numbers(name, (len(numbers),), numbers, dtype)
        return Weight(name, ())

    def _operator(self, node: Any, call: Call, missing: list[str]) -> None:
        inputs = [a for a in call.args if isinstance(a, Node)]
        weights = [w for at in range(len(call.args)) for w in call.weight(at)]
        rule = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        made: list[Any] = []
        stated = [self.stated.get(o) for o in node.output]
        if missing:
            why = f"nothing makes its input {missing[0]}"
        elif rule is None:
            why = f"no rule for operator {kind}"
        else:
            chosen = rule

            def make() -> Node:
                result = chosen(call)
                made.extend(result if isinstance(result, tuple) else (result,))
                return made[0] if isinstance(made[0], Node) else inputs[0]

            try:
                first = self.builder.attempt(call.name, kind, inputs, make, weights)
                for output, value in zip(node.output, made or [first], strict=False):
                    self.values[output] = value
                left = node.output[len(made) or 1 :]
                for output in left:
                    self.values[output] = self.builder.unknown(
                        f"{call.name}:{output}", kind, inputs, "a further output, not followed"
                    )
                return
            except (TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
                why = f"not understood as {kind}: {_line(error)}"
        for at, output in enumerate(node.output):
            reason = why + ("; its shape is the file's" if stated[at] else "")
            self.values[output] = self.builder.unknown(
                call.name if at == 0 else f"{call.name}:{output}", kind, inputs, reason,
                weights, stated[at],
            )  # fmt: skip


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else "no message")[:160]

// A whole layer as it is written for a framework: a plain object with the fields of
// convscape.arithmetic.dialects.Layer.
import { InputError, divisors, makeWindow, output, unfit } from "./arithmetic.js";
import { dialectWindow, isName } from "./dialects.js";

const SETTINGS = {
  ceil_mode: false,
  output_padding: null,
  output_size: null,
  count_include_pad: false,
  in_channels: 1,
  out_channels: 1,
  groups: 1,
  bias: true,
};

/** A layer, after the rules that need no input size. */
export function makeLayer(fields) {
  const layer = { ...SETTINGS, ...fields };
  layer.kernel.forEach((k, a) => makeWindow(k, layer.stride[a], layer.dilation[a]));
  const names = layer.padding.filter(isName);
  const oneName = names.length === layer.padding.length && new Set(names).size === 1;
  const { dialect, operation, groups } = layer;
  if (names.length && !oneName && dialect !== "convscape") {
    throw new InputError(
      `${dialect} has one padding name for all axes`,
      `padding=${layer.padding}`,
      "give one name, or numbers for every axis",
    );
  }
  const causal = names.some((name) => name.toLowerCase() === "causal");
  if (causal && layer.kernel.length > 1 && dialect !== "convscape") {
    throw new InputError(
      "causal padding is for one axis",
      `${layer.kernel.length} axes`,
      "use rank 1",
    );
  }
  const convolves = operation === "conv" || operation === "transposed";
  const strided = Math.max(...layer.stride) > 1;
  if (dialect === "keras" && convolves && strided && Math.max(...layer.dilation) > 1) {
    throw new InputError(
      "Keras refuses strides above 1 together with dilation above 1, on any axes",
      `strides=${layer.stride}, dilation_rate=${layer.dilation}`,
      "set one of them to 1",
    );
  }
  if (operation === "transposed" && groups > 1 && (dialect === "keras" || dialect === "jax")) {
    throw new InputError(
      dialect === "keras"
        ? "Keras has no grouped transposed convolution"
        : "lax.conv_transpose has no groups",
      `groups=${groups}`,
      "use groups=1, or split the channels",
    );
  }
  if (convolves) {
    for (const name of ["in_channels", "out_channels"]) {
      if (layer[name] % groups) {
        throw new InputError(
          `groups must divide ${name}`,
          `${name}=${layer[name]}, groups=${groups}`,
          "choose groups from the common divisors of both channel counts",
        );
      }
    }
  }
  return layer;
}

function rawWindows(layer, spatial) {
  return spatial.map((n, a) =>
    dialectWindow(layer.dialect, {
      operation: layer.operation,
      n,
      kernel: layer.kernel[a],
      stride: layer.stride[a],
      padding: layer.padding[a],
      dilation: layer.dilation[a],
      ceil_mode: layer.ceil_mode,
      output_padding: layer.output_padding ? layer.output_padding[a] : null,
      output_size: layer.output_size ? layer.output_size[a] : null,
    }),
  );
}

/** The window of each axis; refuses one that does not fit. */
export function layerWindows(layer, spatial) {
  const windows = rawWindows(layer, spatial);
  windows.forEach((w, a) => {
    if (!output(w, spatial[a])) {
      const error = unfit(w, spatial[a]);
      throw new InputError(
        "the window must fit the padded input on every axis",
        `axis ${a}: ${error.got}`,
        error.fix,
      );
    }
  });
  return windows;
}

export const layerOutputs = (layer, spatial) =>
  layerWindows(layer, spatial).map((w, a) => output(w, spatial[a]));

/** The windows without what ceil_mode adds. */
export const configured = (layer, spatial) => rawWindows({ ...layer, ceil_mode: false }, spatial);

/** The padding of each axis that an average's divisor counts. */
export const counted = (layer, spatial) =>
  layer.count_include_pad
    ? configured(layer, spatial).map((w) => w.padding)
    : spatial.map(() => [0, 0]);

/** What an average divides by, for each output cell of each axis. */
export const layerDivisors = (layer, spatial) => {
  const pads = counted(layer, spatial);
  return layerWindows(layer, spatial).map((w, a) => divisors(w, spatial[a], pads[a]));
};

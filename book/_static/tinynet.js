// A feed-forward network in plain JavaScript, for layers that litgen.notebook.layers_of describes.
(function (root) {
  "use strict";

  // IEEE 754 half precision to a number; every weight of a run is one, exactly.
  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  function bytes(text) {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  }

  function halves(text) {
    const raw = bytes(text);
    const view = new DataView(raw.buffer);
    return Float32Array.from({ length: raw.length / 2 }, (_, i) => half(view.getUint16(2 * i, true)));
  }

  const operations = {
    linear(x, layer, weights) {
      const y = new Float32Array(layer.outputs);
      const bias = layer.offset + layer.outputs * layer.inputs;
      for (let i = 0; i < layer.outputs; i++) {
        let sum = weights[bias + i];
        const row = layer.offset + i * layer.inputs;
        for (let j = 0; j < layer.inputs; j++) sum += weights[row + j] * x[j];
        y[i] = sum;
      }
      return y;
    },
    relu: (x) => x.map((v) => Math.max(0, v)),
    sigmoid: (x) => x.map((v) => 1 / (1 + Math.exp(-v))),
    silu: (x) => x.map((v) => v / (1 + Math.exp(-v))),
    tanh: (x) => x.map(Math.tanh),
  };

  // Returns a function from an array of inputs to a Float32Array of outputs.
  function network(description) {
    const weights = halves(description.weights);
    return (x) =>
      description.layers.reduce((h, layer) => operations[layer.type](h, layer, weights), Float32Array.from(x));
  }

  root.tinynet = { bytes, halves, network };
})(window);

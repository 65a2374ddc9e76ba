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

  // Calls visit(row, column, position in the output) for every window of a square kernel.
  function windows(layer, visit) {
    const { height, width, kernel, stride, padding } = layer;
    const rows = Math.floor((height + 2 * padding - kernel) / stride) + 1;
    const columns = Math.floor((width + 2 * padding - kernel) / stride) + 1;
    for (let r = 0, at = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++, at++) visit(r * stride - padding, c * stride - padding, at);
    }
    return rows * columns;
  }

  function pooled(x, layer, start, join, finish) {
    const { inputs, height, width, kernel } = layer;
    const size = windows(layer, () => {});
    const y = new Float32Array(inputs * size);
    for (let channel = 0; channel < inputs; channel++) {
      windows(layer, (top, left, at) => {
        let value = start;
        for (let r = Math.max(top, 0); r < Math.min(top + kernel, height); r++) {
          for (let c = Math.max(left, 0); c < Math.min(left + kernel, width); c++) {
            value = join(value, x[(channel * height + r) * width + c]);
          }
        }
        y[channel * size + at] = finish(value, kernel * kernel);
      });
    }
    return y;
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
    // One weight at a time over all windows: zeros of the padding are skipped.
    conv2d(x, layer, weights) {
      const { inputs, outputs, height, width, kernel, stride, padding } = layer;
      const rows = Math.floor((height + 2 * padding - kernel) / stride) + 1;
      const columns = Math.floor((width + 2 * padding - kernel) / stride) + 1;
      const y = new Float32Array(outputs * rows * columns);
      const bias = layer.offset + outputs * inputs * kernel * kernel;
      let next = layer.offset;
      for (let o = 0; o < outputs; o++) {
        y.fill(weights[bias + o], o * rows * columns, (o + 1) * rows * columns);
        for (let i = 0; i < inputs; i++) {
          for (let a = 0; a < kernel; a++) {
            for (let b = 0; b < kernel; b++) {
              const weight = weights[next++];
              for (let r = 0; r < rows; r++) {
                const row = r * stride + a - padding;
                if (row < 0 || row >= height) continue;
                const from = (i * height + row) * width + b - padding;
                const to = (o * rows + r) * columns;
                for (let c = 0; c < columns; c++) {
                  const column = c * stride + b - padding;
                  if (column >= 0 && column < width) y[to + c] += weight * x[from + c * stride];
                }
              }
            }
          }
        }
      }
      return y;
    },
    // Each input spreads its value over a kernel's places; weights are (inputs, outputs, kernel, kernel).
    convtranspose2d(x, layer, weights) {
      const { inputs, outputs, height, width, kernel, stride, padding } = layer;
      const rows = (height - 1) * stride - 2 * padding + kernel;
      const columns = (width - 1) * stride - 2 * padding + kernel;
      const y = new Float32Array(outputs * rows * columns);
      const bias = layer.offset + inputs * outputs * kernel * kernel;
      for (let o = 0; o < outputs; o++) y.fill(weights[bias + o], o * rows * columns, (o + 1) * rows * columns);
      let next = layer.offset;
      for (let i = 0; i < inputs; i++) {
        for (let o = 0; o < outputs; o++) {
          for (let a = 0; a < kernel; a++) {
            for (let b = 0; b < kernel; b++) {
              const weight = weights[next++];
              for (let r = 0; r < height; r++) {
                const row = r * stride + a - padding;
                if (row < 0 || row >= rows) continue;
                const from = (i * height + r) * width;
                const to = (o * rows + row) * columns;
                for (let c = 0; c < width; c++) {
                  const column = c * stride + b - padding;
                  if (column >= 0 && column < columns) y[to + column] += weight * x[from + c];
                }
              }
            }
          }
        }
      }
      return y;
    },
    maxpool2d: (x, layer) => pooled(x, layer, -Infinity, Math.max, (v) => v),
    avgpool2d: (x, layer) => pooled(x, layer, 0, (a, b) => a + b, (v, count) => v / count),
    // Running mean, running variance, gain and bias of each channel.
    batchnorm(x, layer, weights) {
      const { offset, channels, pixels, eps } = layer;
      return x.map((v, i) => {
        const at = offset + Math.floor(i / pixels);
        const factor = weights[at + 2 * channels] / Math.sqrt(weights[at + channels] + eps);
        return (v - weights[at]) * factor + weights[at + 3 * channels];
      });
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

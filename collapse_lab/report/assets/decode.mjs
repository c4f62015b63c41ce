// Typed arrays out of base64, and numbers out of the codes of a logarithmic scale.

const TYPES = { f4: Float32Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
const STEPS = 65534;

/** {type, shape, data} -> {shape, values}. */
export function decode(pack) {
  const text = atob(pack.data);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return { shape: pack.shape, values: new TYPES[pack.type](bytes.buffer) };
}

/** The number of a code between the powers of ten `ends`; NaN for code 0. */
export function fromLog(code, ends) {
  return code === 0 ? NaN : 10 ** (ends[0] + ((code - 1) / STEPS) * (ends[1] - ends[0]));
}

/** The place in a flat array of these indices under a shape. */
export function offset(shape, ...indices) {
  return indices.reduce((sum, index, axis) => sum * shape[axis] + index, 0) * shape.slice(indices.length).reduce((a, b) => a * b, 1);
}

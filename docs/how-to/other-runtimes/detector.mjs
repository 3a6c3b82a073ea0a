// A detector exported with --with-preprocessing, in any ONNX Runtime for JavaScript.

// The JSON text that `fakescan export` left in the file; the runtimes do not show it.
export function metadataOf(bytes) {
  const text = new TextDecoder();
  for (const [number, entry] of fields(bytes)) {
    if (number !== 14) continue; // ModelProto.metadata_props
    const { 1: key, 2: value } = Object.fromEntries(fields(entry));
    if (text.decode(key) === "fakescan") return JSON.parse(text.decode(value));
  }
  throw new Error("not a file that `fakescan export` wrote");
}

// Fields of a protobuf message that have a length: number and bytes.
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (!(byte & 128)) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire === 0) varint();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else {
      const size = varint();
      yield [Math.floor(tag / 8), bytes.subarray(at, at + size)];
      at += size;
    }
  }
}

export async function loadDetector(ort, bytes) {
  const about = metadataOf(bytes);
  const extra = { session: { disable_quant_qdq: "1" } }; // an int8 file as it was compared
  const session = await ort.InferenceSession.create(bytes, { extra });
  if (session.inputNames[0] !== "image") throw new Error("export it with --with-preprocessing");
  return {
    about,
    // RGBA, four bytes a pixel, row by row; transparency lies on white.
    async score(rgba, width, height) {
      const rgb = new Uint8Array(width * height * 3);
      for (let from = 0, to = 0; from < rgba.length; from += 4) {
        const alpha = rgba[from + 3] / 255;
        for (let i = 0; i < 3; i++) rgb[to++] = Math.round(rgba[from + i] * alpha + 255 * (1 - alpha));
      }
      const image = new ort.Tensor("uint8", rgb, [height, width, 3]);
      const { logit } = await session.run({ image }, ["logit"]);
      return judge(logit.data[0], about);
    },
  };
}

export function judge(logit, { calibration, band }) {
  const score = 1 / (1 + Math.exp(-(calibration.slope * logit + calibration.intercept)));
  const verdict = score >= band.t_fake ? "fake" : score < band.t_real ? "real" : "uncertain";
  return { logit, score, verdict };
}

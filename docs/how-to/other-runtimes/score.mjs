// node score.mjs detector.onnx image.png ... : a line of JSON for each image.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-node";
import { PNG } from "pngjs";
import { loadDetector } from "./detector.mjs";

const [model, ...images] = process.argv.slice(2);
const detector = await loadDetector(ort, new Uint8Array(await readFile(model)));
for (const path of images) {
  const { data, width, height } = PNG.sync.read(await readFile(path));
  console.log(JSON.stringify({ path, ...(await detector.score(data, width, height)) }));
}

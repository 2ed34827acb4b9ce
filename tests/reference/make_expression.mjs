// Makes expression.json: what face-api's own code computes with its own weights, for pictures drawn by formula.
// Run by hand, with Node 20, on an unpacked npm package @vladmandic/face-api 1.7.15:
//
//     node make_expression.mjs PACKAGE
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const SIZE = 112;
const folder = process.argv[2];
// The bundle has no TextEncoder for Node in it, but takes a browser's.
globalThis.window = { document: {}, location: { search: "" }, addEventListener() {} };
globalThis.document = { createElement: () => ({ getContext: () => null }) };
const faceapi = await import(pathToFileURL(path.resolve(folder, "dist/face-api.esm.js")));
const { tf } = faceapi;

// A wave in each channel, 0..255; the picture's number makes it finer.
function picture(number) {
  const values = new Float32Array(SIZE * SIZE * 3);
  for (let y = 0; y < SIZE; y++)
    for (let x = 0; x < SIZE; x++)
      [Math.sin(x / 9 * number), Math.cos(y / 7 * number), Math.sin((x + y) / 13)].forEach((value, channel) => {
        values[(y * SIZE + x) * 3 + channel] = 127.5 + 127.5 * value;
      });
  return values;
}

await tf.setBackend("cpu");
await tf.ready();
const model = path.join(folder, "model/face_expression_model");
const bytes = fs.readFileSync(`${model}.bin`);
const list = JSON.parse(fs.readFileSync(`${model}-weights_manifest.json`))[0].weights;
const network = new faceapi.FaceExpressionNet();
network.loadFromWeightMap(tf.io.decodeWeights(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length), list));
const logits = [1, 2, 3].map((number) => {
  const input = { toBatchTensor: () => tf.tensor4d(picture(number), [1, SIZE, SIZE, 3]) };
  return Array.from(network.runNet(network.faceFeatureExtractor.forwardInput(input)).dataSync());
});
fs.writeFileSync(path.join(import.meta.dirname, "expression.json"), JSON.stringify(logits) + "\n");

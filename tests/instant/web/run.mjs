// Runs a graph in ONNX Runtime Web's WASM: a JSON of inputs ({name: {dims, data}}) and a graph in,
// a JSON of outputs out.
import { readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-web/wasm";

const [graph, inputs, outputs] = process.argv.slice(2);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(graph));
const feed = {};
for (const [name, { dims, data }] of Object.entries(JSON.parse(readFileSync(inputs, "utf8")))) {
  feed[name] = new ort.Tensor("float32", Float32Array.from(data), dims);
}
const found = {};
for (const [name, tensor] of Object.entries(await session.run(feed))) {
  found[name] = { dims: tensor.dims, data: Array.from(tensor.data) };
}
writeFileSync(outputs, JSON.stringify(found));

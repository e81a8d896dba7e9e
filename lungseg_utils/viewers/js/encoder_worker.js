// @ts-check
// The image encoder of a network of whole slices, beside the page: it takes seconds, and the page must not stand still.
// Asked { open: { runtime, encoder } } once, then { picture }; answers { embedding } or { problem }.

/** @type {any} */
const here = self;
/** @type {any} */
let runtime;
/** @type {any} */
let encoder;

/** @param {{ runtime: string, encoder: string }} addresses */
async function open({ runtime: folder, encoder: address }) {
  runtime = await import(new URL("ort.wasm.min.mjs", folder).href);
  Object.assign(runtime.env.wasm, { numThreads: 1, wasmPaths: folder });
  runtime.env.logLevel = "error";
  encoder = await runtime.InferenceSession.create(address, { executionProviders: ["wasm"] });
}

/** @param {Float32Array} picture */
async function encode(picture) {
  const side = Math.round(Math.sqrt(picture.length));
  const input = new runtime.Tensor("float32", picture, [1, 1, side, side]);
  return (await encoder.run({ picture: input })).embedding.data;
}

/** @type {Promise<void>} */
let ready = Promise.resolve();

here.onmessage = async (/** @type {MessageEvent} */ { data }) => {
  if (data.open) ready = open(data.open);
  try {
    await ready;
    here.postMessage(data.picture ? { embedding: await encode(data.picture) } : { opened: true });
  } catch (problem) {
    here.postMessage({ problem: String(problem) });
  }
};

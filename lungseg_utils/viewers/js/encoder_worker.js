// @ts-check
// The image encoder of a network of whole slices, beside the page: it takes seconds, and the page must not stand still.
// Asked { open: { runtime, encoder } } once, then { picture }; answers { by }, { embedding } or { problem }.

/** Scripts of onnxruntime-web by what they compute on. */
const SCRIPTS = { webgpu: "ort.webgpu.min.mjs", wasm: "ort.wasm.min.mjs" };
const SIDE = 256; // pixels of the trial picture

/** @type {any} */
const here = self;
/** @type {any} */
let runtime;
/** @type {any} */
let encoder;

/**
 * Open it on the graphics processor where the browser offers one that can run it, else on the processor.
 * @param {{ runtime: string, encoder: string }} addresses
 * @returns {Promise<"webgpu" | "wasm">}
 */
async function open(addresses) {
  if (await here.navigator.gpu?.requestAdapter()) {
    try {
      await openBy("webgpu", addresses);
      await encode(new Float32Array(SIDE * SIDE)); // some drivers fail only here; and its programs are compiled now
      return "webgpu";
    } catch (problem) {
      console.info("encoder: the graphics processor cannot run it, the processor does:", problem);
    }
  }
  await openBy("wasm", addresses);
  return "wasm";
}

/**
 * @param {"webgpu" | "wasm"} provider
 * @param {{ runtime: string, encoder: string }} addresses
 */
async function openBy(provider, { runtime: folder, encoder: address }) {
  runtime = await import(new URL(SCRIPTS[provider], folder).href);
  Object.assign(runtime.env.wasm, { numThreads: 1, wasmPaths: folder });
  runtime.env.logLevel = "error";
  encoder = await runtime.InferenceSession.create(address, { executionProviders: [provider] });
}

/** @param {Float32Array} picture */
async function encode(picture) {
  const side = Math.round(Math.sqrt(picture.length));
  const input = new runtime.Tensor("float32", picture, [1, 1, side, side]);
  return (await encoder.run({ picture: input })).embedding.data;
}

/** @type {Promise<"webgpu" | "wasm">} */
let ready;

here.onmessage = async (/** @type {MessageEvent} */ { data }) => {
  if (data.open) ready = open(data.open);
  try {
    const by = await ready;
    here.postMessage(data.picture ? { embedding: await encode(data.picture) } : { by });
  } catch (problem) {
    here.postMessage({ problem: String(problem) });
  }
};

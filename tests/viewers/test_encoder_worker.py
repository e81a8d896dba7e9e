"""The worker that encodes a reader's own CT: on the graphics processor where there is one, else on the processor. A small network."""

import threading

import numpy as np
import onnxruntime
import pytest

from lungseg_utils.networks import onnx_litemedsam
from lungseg_utils.networks.litemedsam import LiteMedSam
from tests.support.prompt_site import served, write_site
from tests.support.small_encoder import SmallEncoder

pytestmark = pytest.mark.browser
ASK = """async ({ picture, folder }) => {
  const worker = new Worker(`${folder}/viewers/js/encoder_worker.js`, { type: "module" });
  const ask = (question) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.problem ? reject(new Error(data.problem)) : resolve(data));
    worker.postMessage(question);
  });
  const { by } = await ask({ open: { runtime: `${folder}/vendor/onnxruntime/`, encoder: `${folder}/encoder.onnx` } });
  const { embedding } = await ask({ picture: Float32Array.from(picture) });
  worker.terminate();
  return { by, embedding: Array.from(embedding) };
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = write_site(tmp_path_factory.mktemp("site"))
    network = LiteMedSam().eval()
    network.image_encoder = SmallEncoder().eval()
    onnx_litemedsam.write_encoder(network, folder / "_static" / "encoder.onnx")
    return folder


@pytest.fixture
def picture():
    return np.random.default_rng(0).random((256, 256), dtype=np.float32)


def _asked(site, browser, picture, route=None):
    """What the worker runs on, and its embedding of the picture."""
    with served(site) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        context = browser.new_context()
        if route:
            context.route(*route)
        page, address = context.new_page(), f"http://127.0.0.1:{running.server_port}"
        page.goto(address)
        found = page.evaluate(ASK, {"picture": picture.ravel().tolist(), "folder": f"{address}/_static"})
        context.close()
        running.shutdown()
    return found["by"], np.array(found["embedding"], dtype=np.float32)


@pytest.fixture
def wanted(site, picture):
    session = onnxruntime.InferenceSession(site / "_static" / "encoder.onnx")
    return session.run(None, {"picture": picture[None, None]})[0].ravel()


def test_a_graphics_processor_encodes_as_python_does(site, chromium_with_webgpu, picture, wanted):
    by, embedding = _asked(site, chromium_with_webgpu, picture)
    assert by == "webgpu"
    assert embedding == pytest.approx(wanted, abs=1e-3)


def test_without_one_the_processor_encodes(site, chromium, picture, wanted):
    by, embedding = _asked(site, chromium, picture)
    assert by == "wasm"
    assert embedding == pytest.approx(wanted, abs=1e-4)


def test_one_that_cannot_encode_is_passed_by(site, chromium_with_webgpu, picture, wanted):
    failing = "throw new Error('this driver fails')"
    route = ("**/ort.webgpu.min.mjs", lambda asked: asked.fulfill(body=failing, content_type="text/javascript"))
    by, embedding = _asked(site, chromium_with_webgpu, picture, route)
    assert by == "wasm"
    assert embedding == pytest.approx(wanted, abs=1e-4)

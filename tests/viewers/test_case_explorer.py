"""The page "Look at any case": what is written for it, what must not be in there, and the page in a browser."""

import base64
import gzip
import html
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pandas as pd
import pytest

from lungseg_utils.book import build, serve
from lungseg_utils.data import images, nifti
from lungseg_utils.prompts import json_form
from lungseg_utils.prompts.ladder import PROMPT_SETTINGS, first_prompts
from lungseg_utils.types import Mask
from lungseg_utils.viewers import case_explorer
from tests.support.decoded_cases import decoded_hu, decoded_mask, voxels_of
from tests.support.sample_results import CASES, FAILED, METHODS, NO_TUMOR, SECRET, TITLES, sample_results

ROOT = Path(__file__).resolve().parents[2]
UNET, TRIVIAL, STAND_IN = (experiment.name for experiment in METHODS)
PHANTOM = "phantom_msd"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return sample_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def written(results, tmp_path_factory) -> Path:
    """Folder of what an edition at home gets."""
    folder = tmp_path_factory.mktemp("home") / "cases"
    case_explorer.write([*results, results[0]], TITLES, folder, public=False)
    return folder


@pytest.fixture(scope="module")
def published(results, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "cases"
    case_explorer.write(results, TITLES, folder, public=True)
    return folder


def index_of(folder: Path) -> dict:
    return json.loads((folder / "index.json").read_text())


def case_of(folder: Path, dataset: str, name: str) -> dict:
    return json.loads((folder / dataset / f"{name}.json").read_text())


def test_index_names_each_method_once_phantoms_first_and_settings_from_most_help_to_none(written):
    index = index_of(written)
    assert [method["title"] for method in index["methods"]] == list(TITLES.values())
    assert [method["automatic"] for method in index["methods"]] == [True, False, False]
    assert [cohort["key"] for cohort in index["cohorts"]] == ["phantom_msd", "folder", "msd_lung"]
    assert [cohort["phantom"] for cohort in index["cohorts"]] == [True, False, False]
    assert [case["id"] for case in index["cohorts"][0]["cases"]] == list(CASES[PHANTOM])
    settings = [setting["key"] for setting in index["settings"]]
    assert settings == [setting for setting in PROMPT_SETTINGS if setting in settings]
    assert {"none", "clicks_2", "detector_box"} <= set(settings)


def test_values_are_those_of_the_results_tables(written, results):
    for cohort in index_of(written)["cohorts"]:
        for result in results:
            rows = result.asked()
            rows = rows[(rows["test_dataset"] == cohort["key"]) & rows["metric"].isin(case_explorer.METRICS) & (rows["lesion_id"] == "")]
            assert len(rows)
            for row in rows.itertuples():
                key = f"{row.experiment}/{row.prompter}"
                number = [case["id"] for case in cohort["cases"]].index(row.case_id)
                value = case_of(written, cohort["key"], row.case_id)["values"][key][row.metric]
                if pd.isna(row.value):
                    assert value is None
                elif np.isinf(row.value):
                    assert value == "infinite"
                else:
                    assert value == round(row.value, case_explorer.DIGITS)
                if row.metric == "dsc":
                    assert cohort["dsc"][key][number] == value


def test_failures_are_marked(written):
    values = case_of(written, PHANTOM, FAILED)["values"]
    assert {key for key, of in values.items() if of["failed"]} == {key for key in values if key.startswith(STAND_IN)}
    assert values[f"{STAND_IN}/click"]["hd95"] == "infinite"


def test_a_case_without_any_value_is_an_error(results, tmp_path):
    rows = results[1].results
    lacking = replace(results[1], results=rows[~((rows["case_id"] == "PM-2") & (rows["metric"] == "hd95"))])
    with pytest.raises(ValueError, match="PM-2"):
        case_explorer.write([lacking], TITLES, tmp_path, public=False)


def test_voxels_and_masks_are_those_that_the_run_left(written, results):
    case = results[0].cases(PHANTOM)[1]
    image = images.read_image(case.image_path)
    for name in (f"{case.case_id}.json", f"{case.case_id}.all.json"):
        stored = json.loads((written / PHANTOM / name).read_text())
        place = voxels_of(stored)
        hu = np.clip(image.array, -1024, 3071)[place]
        assert np.abs(decoded_hu(stored) - hu).max() <= 2
        assert np.array_equal(decoded_mask(stored, "reference"), nifti.read_mask(case.reference_paths[0], image).array[place])
        for result in results:
            for path in result.folder.glob(f"predictions/{PHANTOM}/*/{case.case_id}.nii.gz"):
                mask = nifti.read_mask(path, like=image, allow_empty=True).array[place]
                assert np.array_equal(decoded_mask(stored, f"{result.experiment.name}/{path.parent.name}"), mask)


def test_what_lies_outside_the_first_picture_is_counted_and_in_the_second(written, results):
    case = results[0].cases(PHANTOM)[0]
    near, everything = case_of(written, PHANTOM, "PM-1"), case_of(written, PHANTOM, "PM-1.all")
    image = images.read_image(case.image_path)
    mask = results[0].prediction(PHANTOM, "none", "PM-1", type("Study", (), {"image": image}))
    for stored, outside in ((near, near["outside_ml"][f"{UNET}/none"]), (everything, 0)):
        inside_ml = decoded_mask(stored, f"{UNET}/none").sum() * image.voxel_ml
        assert mask.volume_ml - inside_ml == pytest.approx(outside, abs=1e-6)
    assert near["outside_ml"][f"{UNET}/none"] > 0
    assert near["outside_ml"][f"{TRIVIAL}/box_every_slice"] == 0


def test_the_first_slice_is_where_the_reference_is_largest(written):
    stored = case_of(written, PHANTOM, "PM-2")
    areas = decoded_mask(stored, "reference").sum(axis=(1, 2))
    assert areas[stored["start"]] == areas.max() > 0


def test_without_a_tumor_there_is_a_picture_of_all_answers_and_no_prompt(written):
    stored = case_of(written, PHANTOM, NO_TUMOR)
    assert decoded_mask(stored, f"{UNET}/none").any()
    assert all(not told["prompts"] and not told["lines"] for told in stored["prompts"].values())
    assert stored["values"][f"{UNET}/none"]["dsc"] is None


@pytest.mark.parametrize("setting", [setting for setting in PROMPT_SETTINGS if setting != "detector_box"])
def test_prompts_are_those_that_the_run_gave(results, setting):
    case = results[0].cases(PHANTOM)[2]
    image = images.read_image(case.image_path)
    reference = nifti.read_mask(case.reference_paths[0], image)
    told = [json_form.to_json(prompt) for prompt in first_prompts(case, reference, setting)]
    assert case_explorer._prompts(case, reference, setting)["prompts"] == told


def test_a_recist_line_stands_beside_what_the_model_was_given(written):
    stored = case_of(written, PHANTOM, "PM-1")["prompts"]["recist_line"]
    (line,), (slice_prompt,) = stored["lines"], stored["prompts"][0]["slices"]
    i_min, i_max, j_min, j_max = slice_prompt["box"]
    assert line["index"] == slice_prompt["index"]
    for i, j in (line["from"], line["to"]):
        assert i_min - 1 <= i <= i_max  # the square has whole voxels; its sides lie half a voxel beyond their centers
        assert j_min - 1 <= j <= j_max


def test_boxes_of_a_detector_are_not_invented(written):
    assert case_of(written, PHANTOM, "PM-1")["prompts"]["detector_box"] == {"prompts": [], "lines": []}
    note = next(setting["note"] for setting in index_of(written)["settings"] if setting["key"] == "detector_box")
    assert "not kept" in note


def test_published_files_hold_no_voxel_of_a_restricted_case(written, published):
    assert [cohort["shown"] for cohort in index_of(published)["cohorts"]] == [True, False, True]
    stored = case_of(published, "folder", "mine")
    assert set(stored) == {"title", "facts", "cut", "reference", "withheld", "values"}
    assert "license" in stored["withheld"]
    assert stored["values"] == case_of(written, "folder", "mine")["values"]
    assert [path.name for path in (published / "folder").iterdir()] == ["mine.json"]
    assert "ct" in case_of(published, "msd_lung", "lung_001")
    assert "ct" in case_of(written, "folder", "mine")


def everything_in(folder: Path) -> Iterator[bytes]:
    """All files, with all their packed parts unpacked as well."""
    for path in folder.rglob("*.json"):
        yield path.read_bytes()
        content = json.loads(path.read_text())
        for text in (*([content["ct"]] if "ct" in content else []), *(mask["bits"] for mask in content.get("masks", []))):
            raw = base64.b64decode(text)
            yield raw
            yield gzip.decompress(raw)


def test_nothing_of_a_header_but_geometry(written, results):
    assert SECRET in gzip.decompress(results[0].cases(PHANTOM)[0].image_path.read_bytes())
    for part in everything_in(written):
        assert b"secret" not in part.lower()
        assert str(results[0].folder).encode() not in part


def test_equal_titles_are_told_apart(results):
    again = replace(results[0], experiment=replace(results[0].experiment, seed=1, options=(("loss", "focal"),)))
    titles = TITLES | {again.experiment.name: TITLES[UNET]}
    labels = case_explorer._distinct_titles([*results, again], titles)
    assert labels[UNET] == "U-Net, full training, seed 0"
    assert labels[again.experiment.name] == "U-Net, full training, seed 1, loss focal"
    assert labels[TRIVIAL] == TITLES[TRIVIAL]


def test_packed_masks_come_out_as_they_went_in():
    rng = np.random.default_rng(0)
    mask = Mask(rng.random((5, 7, 3)) < 0.4, np.eye(4))
    packed = case_explorer._PackedMasks(mask.shape, mask.affine)
    packed.add("one", mask)
    assert np.array_equal(packed["one"].array, mask.array)
    assert list(packed) == ["one"]


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(published, tmp_path_factory) -> Iterator[str]:
    """Address of a page with the published cases."""
    folder = tmp_path_factory.mktemp("site")
    _write_site(folder, published)
    with serve.server(folder, 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def _write_site(folder: Path, cases: Path) -> None:
    """The page as the book shows it, without the book."""
    static = folder / "_static"
    shutil.copytree(cases, static / "data" / "cases")
    shutil.copytree(ROOT / "lungseg_utils" / "viewers", static / "viewers", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(build.vendor(ROOT) / "niivue", static / "vendor" / "niivue")
    body = re.search(r"```\{raw\} html\n(.*?)```", (ROOT / "book" / "explore.md").read_text(), re.DOTALL)[1]
    head = '<!doctype html><html lang="en" style="color-scheme: light dark"><head><meta charset="utf-8"><title>Look</title>'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,"></head>'
    (folder / "book").mkdir()
    (folder / "book" / "explore.html").write_text(f'{head}<body style="max-width: 54rem; margin: 0 auto">{body}</body></html>')
    (folder / "index.html").write_text("<!doctype html><title>root</title>")


class Open:
    """The open page, and everything that should not have happened on it."""

    def __init__(self, page, address: str) -> None:
        self.page, self.address, self.problems, self.urls = page, address, [], []
        page.on("console", lambda message: message.type in ("error", "warning") and self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.urls.append(request.url))

    def go(self, state: str = "") -> "Open":
        self.page.goto(f"{self.address}book/explore.html{state}")
        self.page.wait_for_selector(".case-explorer[data-first-picture]")
        return self

    def choose(self, label: str, option: str) -> None:
        self.page.get_by_label(label, exact=True).select_option(option)
        self.settle()

    def take(self, choice: str) -> None:
        self.page.locator(".lv-choice label", has_text=choice).click()
        self.settle()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()
        self.settle()

    def settle(self) -> None:
        """Until the chosen case is shown and drawn."""
        self.page.evaluate("document.querySelector('.case-explorer').caseExplorer.ready")
        self.page.wait_for_timeout(60)
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def picture(self, nth: int = 0) -> str:
        return self.page.evaluate(f"[...document.querySelectorAll('.lv-stage > canvas')][{nth}].toDataURL()")

    def values(self) -> list[str]:
        return self.page.locator(".cx-values td:not(:empty)").all_inner_texts()

    def case(self) -> str:
        return self.page.locator(".case-explorer").get_attribute("data-case")

    def slices(self) -> list[str]:
        return [text for text in self.page.locator(".lv-where").all_inner_texts() if text]

    def link(self) -> str:
        self.page.wait_for_timeout(400)
        return self.page.url


@pytest.fixture
def opened(site, chromium) -> Iterator[Open]:
    """`opened(state, **context)`: the page in a fresh profile. Nothing may be logged, and no other host asked."""
    contexts, pages = [], []

    def open_page(state: str = "", **options) -> Open:
        contexts.append(chromium.new_context(**({"viewport": {"width": 1100, "height": 900}} | options)))
        pages.append(Open(contexts[-1].new_page(), site))
        return pages[-1].go(state)

    yield open_page
    for page in pages:
        assert [text for text in page.problems if "GPU stall" not in text] == []  # said of readPixels by the software renderer
        assert [url for url in page.urls if not url.startswith((site, "data:", "blob:"))] == []
    for context in contexts:
        context.close()


def state(dataset: str = PHANTOM, case: str = "PM-2", a: str = f"{STAND_IN}/box_every_slice", more: str = "") -> str:
    return f"#data={dataset}&case={case}&a={a}{more}"


@pytest.mark.browser
def test_on_paper_the_values_say_of_which_case_and_answer_they_are(opened):
    page = opened(state()).page
    page.emulate_media(media="print")
    assert page.locator(".cx-values caption").inner_text().endswith("PM-2")
    assert "box on every slice" in page.locator(".cx-values thead").inner_text()


@pytest.mark.skipif(not os.environ.get("LUNGSEG_BOOK_HTML"), reason="no book was built (make test does that first)")
def test_each_picture_of_the_wall_of_failures_leads_to_its_case():
    pages = Path(os.environ["LUNGSEG_BOOK_HTML"])
    text = (pages / "book" / "results" / "failures.html").read_text()
    links = [html.unescape(found) for found in re.findall(r'<a href="\.\./explore\.html#([^"]+)"', text)]
    assert len(links) == text.count('class="fw-picture') > 3
    for link in links:
        asked = {key: value for key, (value,) in parse_qs(link, strict_parsing=True).items()}
        case = case_of(pages / "_static" / "data" / "cases", asked["data"], asked["case"])
        assert asked["a"] in json.dumps(case), link


@pytest.mark.browser
def test_the_address_of_an_answer_opens_it(opened):
    page, _, hash_part = case_explorer.address(PHANTOM, FAILED, STAND_IN, "click").partition("#")
    assert page == "explore.html"
    shown = opened("#" + hash_part)
    assert shown.case() == FAILED
    assert shown.page.get_by_label("Prompt of A", exact=True).input_value().endswith("/click")
    assert "does not hold" not in shown.page.locator(".case-explorer").inner_text()


@pytest.mark.browser
def test_first_picture_is_quick_and_says_that_it_is_a_phantom(opened):
    page = opened()
    assert int(page.page.locator(".case-explorer").get_attribute("data-first-picture")) < 2000
    assert "Phantom result" in page.page.locator(".cx-kind").inner_text()
    assert page.page.locator(".cx-values caption").inner_text() == "Phantom results"
    colors = "new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
    assert page.page.evaluate(f"(() => {{ const c = document.querySelector('.lv-stage > canvas'); return {colors}; }})()") > 50
    assert page.page.locator(".cx-wait").count() == 0


@pytest.mark.browser
def test_case_method_and_setting_change_picture_and_numbers(opened, published):
    page = opened()
    assert page.case() == "PM-1"
    seen = [(page.picture(), page.values())]
    page.choose("Case", "PM-2")
    seen.append((page.picture(), page.values()))
    page.choose("Method of A", STAND_IN)
    seen.append((page.picture(), page.values()))
    page.choose("Prompt of A", f"{STAND_IN}/recist_line")
    seen.append((page.picture(), page.values()))
    assert len({picture for picture, _ in seen}) == len({tuple(values) for _, values in seen}) == 4
    stored = case_of(published, PHANTOM, "PM-2")["values"][f"{STAND_IN}/recist_line"]
    assert page.values()[0] == f"{stored['dsc']:.3f}"
    assert page.values()[3] == f"{stored['hd95']:.1f} mm"
    assert page.values()[5] == f"{stored['reference_volume']:.2f} ml"


@pytest.mark.browser
def test_a_second_answer_is_laid_over_or_set_beside_and_slices_are_linked(opened):
    page = opened(state())
    alone = page.picture()
    page.choose("Method of B", TRIVIAL)
    assert page.picture() != alone
    assert page.page.locator(".cx-values thead th").all_inner_texts() == ["A", "B"]
    page.take("side by side")
    page.settle()
    first, second = page.page.locator(".lv-stage > canvas").all()
    assert second.is_visible()
    assert page.picture(0) != page.picture(1)
    before = page.slices()
    first.focus()
    page.page.keyboard.press("ArrowUp")
    page.settle()
    assert page.slices()[0] == page.slices()[1] != before[0]
    second.hover()
    page.page.mouse.wheel(0, 120)
    page.settle()
    assert page.slices() == before


@pytest.mark.browser
def test_windows_looks_and_the_part_of_the_scan(opened):
    page = opened(state(a=f"{UNET}/none"))
    pictures = [page.picture()]
    for act in (
        lambda: page.take("mediastinum"),
        lambda: page.page.get_by_label("A: drawn as").select_option("fill"),
        lambda: page.page.locator(".lv-overlay input[type=range]").nth(1).fill("40"),
        lambda: page.page.locator(".lv-overlay input[type=checkbox]").first.uncheck(),
        lambda: page.take("all predictions"),
    ):
        act()
        page.settle()
        pictures.append(page.picture())
    assert len(set(pictures)) == len(pictures)
    assert "lie outside" not in page.page.locator(".cx-values").inner_text()
    page.take("around the reference")
    page.settle()
    assert "ml of A lie outside this picture" in page.page.locator(".cx-values").inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("setting", ["box_every_slice", "recist_line", "click", "click_random", "clicks_2"])
def test_a_prompt_is_drawn_on_its_slice_and_a_button_leads_there(opened, setting, published):
    page = opened(state(a=f"{STAND_IN}/{setting}"))
    told = case_of(published, PHANTOM, "PM-2")["prompts"][setting]["prompts"]
    slices = {slice_prompt["index"] for prompt in told for slice_prompt in prompt["slices"]}
    toggle = page.page.get_by_label("draw the prompt")

    def is_drawn() -> bool:
        toggle.check()
        page.settle()
        with_prompt = page.picture()
        toggle.uncheck()
        page.settle()
        return page.picture() != with_prompt

    def k() -> int:
        return int(re.match(r"Slice (\d+)", page.slices()[0])[1]) - 1

    page.page.locator(".lv-stage > canvas").first.focus()
    page.page.keyboard.press("Home")
    page.settle()
    assert k() not in slices
    assert not is_drawn()
    page.page.get_by_role("button", name="Go to slice").click()
    page.settle()
    assert k() == min(slices, key=lambda index: (abs(index - 0), index))
    assert is_drawn()
    assert toggle.count() == 1


@pytest.mark.browser
def test_a_box_is_drawn_at_its_voxels(opened, published):
    page = opened(state(a=f"{TRIVIAL}/box_one_slice", more="&reference=hidden-outline-100&A=hidden-outline-100"))
    slice_prompt = case_of(published, PHANTOM, "PM-2")["prompts"]["box_one_slice"]["prompts"][0]["slices"][0]
    page.press(page.page.get_by_role("button", name=re.compile("slice", re.I)).first.inner_text())
    i_min, i_max, j_min, j_max = slice_prompt["box"]
    corners = [[i - 0.5, j - 0.5] for i in (i_min, i_max) for j in (j_min, j_max)]
    yellow = """(places) => { const { frame, case: shown, canvas } = document.querySelector('.case-explorer').caseExplorer.panes[0];
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const isYellow = (x, y) => { const n = 4 * (y * canvas.width + x); return data[n] > 200 && data[n + 1] > 190 && data[n + 2] < 120; };
      return places.map(([i, j]) => {
        const x = Math.round(frame.left + ((i - shown.voxel[0][0]) / shown.voxel[0][1] + 0.5) / shown.columns * frame.width);
        const y = Math.round(frame.top + ((j - shown.voxel[1][0]) / shown.voxel[1][1] + 0.5) / shown.rows * frame.height);
        for (let n = 0; n < 289; n++) if (isYellow(x + n % 17 - 8, y + Math.floor(n / 17) - 8)) return true;
        return false; }); }"""
    assert page.page.evaluate(yellow, [*corners, [(i_min + i_max) / 2, (j_min + j_max) / 2]]) == [True] * 4 + [False]


@pytest.mark.browser
def test_what_is_not_known_of_a_prompt_is_said(opened):
    page = opened(state(a=f"{STAND_IN}/detector_box"))
    assert "none is drawn" in page.page.locator(".cx-prompts").inner_text()
    page.choose("Prompt of A", f"{STAND_IN}/clicks_2")
    assert "Only the first click" in page.page.locator(".cx-prompts").inner_text()
    page.choose("Method of A", UNET)
    page.choose("Prompt of A", f"{UNET}/none")
    assert "the control" not in page.page.locator(".cx-values").inner_text()
    page.choose("Prompt of A", f"{UNET}/box_one_slice")
    assert "the control: its prediction without a prompt" in page.page.locator(".cx-values").inner_text()


@pytest.mark.browser
def test_a_link_restores_what_was_seen(opened):
    page = opened(state(more=f"&b={TRIVIAL}/box_one_slice"))
    page.take("side by side")
    page.take("bone")
    page.page.get_by_label("B: drawn as").select_option("fill")
    page.page.locator(".lv-stage > canvas").first.focus()
    page.page.keyboard.press("ArrowDown")
    page.settle()
    link = page.link()
    again = opened(link[link.index("#") :])
    assert again.slices() == page.slices()
    assert [again.picture(n) for n in (0, 1)] == [page.picture(n) for n in (0, 1)]
    assert again.values() == page.values()
    assert again.link() == link


@pytest.mark.browser
def test_an_address_changed_by_hand_is_followed(opened):
    page = opened(state())
    page.page.evaluate("location.hash = '#data=phantom_msd&case=PM-3&window=liver'")
    page.page.wait_for_selector(".case-explorer[data-case='PM-3']")
    assert "does not hold window = liver" in page.page.locator(".cx-message").inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("part", ["&data=other", "&case=PM-99", "&a=nobody/none", "&b=nobody/none"])
def test_a_link_to_what_is_not_here_shows_no_other_patient(opened, part):
    page = opened(state())
    name = part[1:].split("=")[0]
    parts = {key: value for key, value in (item.split("=", 1) for item in state()[1:].split("&"))} | {name: part.split("=", 1)[1]}
    page.page.evaluate("(hash) => { location.hash = hash; }", "&".join(f"{key}={value}" for key, value in parts.items()))
    page.page.wait_for_function("document.querySelector('.cx-message').textContent.includes('Nothing is shown')")
    assert not any(canvas.is_visible() for canvas in page.page.locator(".lv-stage > canvas").all())
    assert not page.page.locator(".cx-values").is_visible()
    page.press("Next ›")
    assert page.page.locator(".lv-stage > canvas").first.is_visible()
    assert page.page.locator(".cx-message").inner_text() == ""


@pytest.mark.browser
def test_planes_zoom_and_a_window_by_drag(opened):
    page = opened(state())
    seen = [page.picture()]
    for plane in ("coronal", "sagittal"):
        page.take(plane)
        seen.append(page.picture())
        assert page.slices()[0].startswith(plane.capitalize())
    assert "plane=sagittal" in page.link()
    page.take("axial")
    assert page.picture() == seen[0]
    page.page.get_by_role("button", name="Zoom in").first.click()
    page.settle()
    seen.append(page.picture())
    page.page.locator(".lv-stage > canvas").first.focus()
    page.page.keyboard.press("0")
    page.settle()
    assert page.picture() == seen[0]
    box = page.page.locator(".lv-stage > canvas").first.bounding_box()
    page.page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 60, box["y"] + 130, steps=4)
    page.page.mouse.up()
    page.page.mouse.move(1, 1)
    page.settle()
    assert page.page.locator(".lv-value").first.inner_text() == "W 1340 L \u2212480"  # lung: 1500, -600; 4 HU a pixel
    seen.append(page.picture())
    assert len(set(seen)) == len(seen)
    page.take("lung")
    assert page.picture() == seen[0]


@pytest.mark.browser
def test_worst_median_best_and_the_neighbors(opened, published):
    page = opened(state(case="PM-1"))
    cohort = index_of(published)["cohorts"][0]
    scores = {case["id"]: score for case, score in zip(cohort["cases"], cohort["dsc"][f"{STAND_IN}/box_every_slice"], strict=True)}
    ranked = sorted((name for name, score in scores.items() if score is not None), key=scores.get)
    for name, expected in (("Worst", ranked[0]), ("Median", ranked[(len(ranked) - 1) // 2]), ("Best", ranked[-1])):
        page.press(name)
        assert page.case() == expected
        assert page.page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") == "true"
    page.choose("Case", "PM-1")
    page.press("Next ›")
    assert page.case() == "PM-2"
    page.press("‹ Previous")
    page.press("‹ Previous")
    assert page.case() == "PM-5"


@pytest.mark.browser
def test_real_patients_are_not_ranked(opened):
    page = opened(state("msd_lung", "lung_001"))
    assert not page.page.get_by_role("button", name="Worst").is_visible()
    assert "not ranked" in page.page.locator(".cx-kind").inner_text()
    assert page.page.locator(".cx-values caption").inner_text() == "Results on this patient"
    page.choose("Data set", PHANTOM)
    assert page.page.get_by_role("button", name="Worst").is_visible()


@pytest.mark.browser
def test_a_withheld_case_has_words_and_values(opened):
    page = opened(state())
    page.choose("Data set", "folder")
    page.page.wait_for_selector(".case-explorer[data-case='mine']")
    assert "license" in page.page.locator(".lv-withheld").inner_text()
    assert not page.page.locator(".lv-stage > canvas").first.is_visible()
    assert re.fullmatch(r"0\.\d{3}|1\.000", page.values()[0])
    page.choose("Data set", PHANTOM)
    assert page.page.locator(".lv-stage > canvas").first.is_visible()


@pytest.mark.browser
def test_values_that_do_not_exist_are_told_in_words(opened):
    page = opened(state(case=NO_TUMOR, a=f"{UNET}/none"))
    assert "undefined: the reference is empty" in page.values()
    page.choose("Case", FAILED)
    page.choose("Method of A", STAND_IN)
    assert "infinite: the prediction is empty" in page.values()
    assert "failed on this case" in page.page.locator(".cx-values").inner_text()


@pytest.mark.browser
def test_keys_alone_will_do(opened):
    page = opened(state(more=f"&b={TRIVIAL}/box_one_slice"))
    keys = page.page.keyboard
    page.page.get_by_label("Data set", exact=True).focus()
    reached = set()
    for _ in range(45):
        keys.press("Tab")
        reached.add(page.page.evaluate("(({ type, textContent, tagName }) => textContent || type || tagName)(document.activeElement)"))
    assert {"Next ›", "Worst", "CANVAS", "range", "radio", "checkbox", "3D and multiplanar"} <= reached
    assert any(TITLES[STAND_IN] in text for text in reached)  # the text of a list is that of its choices
    page.page.get_by_role("button", name="Next ›").focus()
    keys.press("Enter")
    page.settle()
    assert page.case() == "PM-3"
    assert page.page.evaluate("document.activeElement.textContent") == "Next ›"  # and can be pressed again
    page.page.locator(".lv-choice input").first.focus()
    keys.press("ArrowRight")
    page.settle()
    assert page.page.locator(".cx-side").count() == 1
    assert page.page.evaluate("document.activeElement.type") == "radio"
    controls = "[...document.querySelectorAll('.case-explorer :is(input, select, canvas[role])')]"
    assert page.page.evaluate(f"{controls}.filter((e) => !(e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML)") == []


@pytest.mark.browser
def test_a_phone_needs_no_sideways_scrolling_and_turns_slices_by_a_swipe(opened):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = opened(state(more=f"&b={TRIVIAL}/box_one_slice&view=side"), **phone)
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    parts = page.page.locator(".case-explorer :is(canvas, select, button, input, td, p)").all()
    for box in [part.bounding_box() for part in parts if part.is_visible()]:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    before = page.slices()
    swipe = """() => { const c = document.querySelector('.lv-stage > canvas'); const { left, top } = c.getBoundingClientRect();
      const send = (type, x) => c.dispatchEvent(new PointerEvent(type,
        { pointerType: 'touch', clientX: left + x, clientY: top + 99, bubbles: true }));
      send('pointerdown', 200); send('pointermove', 120); send('pointerup', 120); }"""
    page.page.evaluate(swipe)
    page.settle()
    assert page.slices()[0] == page.slices()[1] != before[0]


@pytest.mark.browser
def test_dark_mode(opened):
    def brightness(color: str) -> float:
        return sum(float(v) for v in re.findall(r"[\d.]+", color)[:3]) / 3

    for scheme, dark in (("light", False), ("dark", True)):
        page = opened(state(), color_scheme=scheme)
        text = page.page.evaluate("getComputedStyle(document.querySelector('.cx-values td:last-child')).color")
        assert (brightness(text) > 150) == dark


@pytest.mark.browser
@pytest.mark.slow
def test_space_opens_late_from_the_arrays_in_the_page(opened):
    page = opened(state())
    assert not any("vendor/niivue" in url for url in page.urls)
    page.page.get_by_role("button", name="3D and multiplanar").click()
    page.page.wait_for_selector(".cx-space-stage canvas")
    loaded = "document.querySelector('.case-explorer').caseExplorer.space?.view.volumes.map((v) => [...v.hdr.dims.slice(1, 4)])"
    page.page.wait_for_function(f"{loaded}?.length === 3")
    shape = page.page.evaluate("document.querySelector('.case-explorer').caseExplorer.loaded.shape")
    assert page.page.evaluate(loaded) == [shape[::-1]] * 3
    assert page.page.locator(".cx-space-stage").bounding_box()["height"] > 300
    drawn = "(() => { const v = document.querySelector('.case-explorer').caseExplorer.space.view; v.drawScene(); const g = v.gl;"
    drawn += "const p = new Uint8Array(g.drawingBufferWidth * g.drawingBufferHeight * 4); g.readPixels(0, 0, g.drawingBufferWidth,"
    drawn += "g.drawingBufferHeight, g.RGBA, g.UNSIGNED_BYTE, p); return new Set(new Uint32Array(p.buffer)).size; })()"
    assert page.page.evaluate(drawn) > 100
    assert "space=on" in page.link()
    page.press("Next ›")
    page.page.wait_for_function(f"{loaded}.length === 3")


@pytest.mark.browser
def test_a_missing_file_is_told(opened, site):
    page = opened(state())
    page.page.route("**/PM-3.json", lambda route: route.fulfill(status=404, body=""))
    page.choose("Case", "PM-3")
    page.page.wait_for_function("document.querySelector('.cx-message').textContent.includes('could not be loaded (404')")
    page.page.set_viewport_size({"width": 390, "height": 844})  # a message names an address, which is longer than a phone is wide
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    page.choose("Case", "PM-4")
    assert page.case() == "PM-4"
    assert page.page.locator(".cx-message").inner_text() == ""
    page.page.unroute("**/PM-3.json")
    page.choose("Case", "PM-3")
    page.page.wait_for_selector(".case-explorer[data-case='PM-3']")
    page.problems.clear()


@pytest.mark.browser
def test_without_server_cases_or_scripts_there_is_a_text(site, chromium, tmp_path, published):
    _write_site(tmp_path, published)
    context = chromium.new_context()
    page = context.new_page()
    page.goto((tmp_path / "book" / "explore.html").as_uri())
    page.get_by_text("make serve").wait_for()
    page.route("**/index.json", lambda route: route.fulfill(status=404, body=""))
    page.goto(f"{site}book/explore.html")
    page.get_by_text("could not be loaded (404").wait_for()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}book/explore.html")
    assert "switched off" in page.locator("noscript p").inner_text()
    context.close()

"""A published nnU-Net of which one checkpoint is enough: nnunetv2 writes plans and labels into it, beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from ..data import nnunet_results
from ..types import InputError
from . import training
from .own_nnunet import OwnNnUNet


class PublishedNnUNet(OwnNnUNet):
    """Predicts by nnunetv2's own predictor, as a trained nnU-Net from a whole folder of results does."""

    def load_pretrained(self, path: Path) -> None:
        """Take the nnU-Net of a checkpoint that nnunetv2's trainer saved; InputError if plans or labels are not in it."""
        arguments = training.load_weights_file(path, "Fetch it again.").get("init_args", {})
        missing = [name for name in ("plans", "dataset_json", "configuration") if name not in arguments]
        if missing:
            raise InputError(path, f"it lacks {', '.join(missing)}", "Give a checkpoint as nnunetv2's trainer saves it.")
        with TemporaryDirectory() as folder:
            fold = Path(folder) / "fold_0"
            fold.mkdir()
            (fold / self._options["checkpoint"]).symlink_to(path.resolve())
            for name, content in ((nnunet_results.PLANS, "plans"), (nnunet_results.DATASET, "dataset_json")):
                (Path(folder) / name).write_text(json.dumps(arguments[content]))
            super().load_pretrained(Path(folder))

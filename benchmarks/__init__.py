"""Speed of this project beside the scripts that people use: `python -m benchmarks`, or `make bench`.

One module in `rows` per piece of work, its name is its key; `row.py` says what it holds. Nothing here belongs to the package, so that a
change renders no page again.
"""

from lungseg_utils.networks import ensure_torchvision

ensure_torchvision()  # before a row imports segment_anything

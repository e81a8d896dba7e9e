"""Compare the speed of this project with common scripts: `python -m benchmarks`, or `make bench`.

Each function under `@row` in a module of `rows` is one piece of work; `row.py` defines its fields. Nothing here belongs to the package,
so a change renders no page again.
"""

from lungseg_utils.networks import ensure_torchvision

ensure_torchvision()  # before a row imports segment_anything

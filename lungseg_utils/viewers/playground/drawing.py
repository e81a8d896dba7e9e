"""Prompts that a person draws on one lesion, step by step, with undo and redo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...types import Box, InputError, Points, Prompt, SlicePrompt

LESION_ID = 1
_LEAST_SIDE = 2  # voxels: what is smaller is a slip of the hand


def can_be_predicted(prompts: Sequence[Prompt]) -> bool:
    """False where nothing, or clicks outside alone, were said."""
    return any(drawn.box is not None or 1 in drawn.points.labels for prompt in prompts for drawn in prompt.slices)


class DrawnPrompt:
    """What has been drawn on an image of `shape` (voxels along x, y, z). A refused step (InputError) leaves everything as it was."""

    def __init__(self, shape: Sequence[int]):
        self.shape = tuple(shape)
        self.prompts: tuple[Prompt, ...] = ()
        self.follow = False
        self._undone: list[tuple[Prompt, ...]] = []
        self._before: list[tuple[Prompt, ...]] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        """Whether a step was taken back."""
        return bool(self._undone)

    def box(self, first: Sequence[int], last: Sequence[int], index: int) -> None:
        """A box on slice `index` between two voxels (i, j), both inside it; it takes the place of the slice's box."""
        low, high = ([pick(int(a), int(b)) for a, b in zip(first, last, strict=True)] for pick in (min, max))
        self._require_inside(low, index)
        self._require_inside(high, index)
        if min(b - a for a, b in zip(low, high, strict=True)) + 1 < _LEAST_SIDE:
            raise InputError("box", "smaller than two voxels", "Drag over the tumor.")
        box = Box((*low, index), (*(n + 1 for n in high), index + 1))
        self._draw(replace(self._slice_prompt(index), box=box))

    def click(self, place: Sequence[int], index: int, inside: bool) -> None:
        """A click on voxel (i, j) of slice `index`, inside the lesion or outside."""
        voxel = (int(place[0]), int(place[1]))
        self._require_inside(voxel, index)
        drawn = self._slice_prompt(index)
        before = drawn.points or Points((), ())
        points = Points((*before.ijk, (*voxel, index)), (*before.labels, int(inside)))
        self._draw(replace(drawn, points=points))

    def set_follow(self, follow: bool) -> None:
        """Whether the lesion is to be looked for beyond the slices that were drawn on."""
        changed, self.follow = follow != self.follow, follow
        if changed and self.prompts:
            self.set(tuple(replace(prompt, find_ends=follow) for prompt in self.prompts))

    def clear(self) -> None:
        """Take everything away, as a step that can be taken back."""
        if self.prompts:
            self.set(())

    def set(self, prompts: Sequence[Prompt]) -> None:
        """Put prompts in the place of those that stood, as one step."""
        self._before.append(self.prompts)
        self._undone.clear()
        self._show(tuple(prompts))

    def undo(self) -> None:
        """Take the last step back."""
        if not self._before:
            raise InputError("undo", "there is nothing to take back", "Draw something first.")
        self._undone.append(self.prompts)
        self._show(self._before.pop())

    def redo(self) -> None:
        """Do again what was taken back last."""
        if not self._undone:
            raise InputError("redo", "nothing was taken back", "Undo comes first.")
        self._before.append(self.prompts)
        self._show(self._undone.pop())

    def _show(self, prompts: tuple[Prompt, ...]) -> None:
        self.prompts = prompts
        if prompts:
            self.follow = prompts[0].find_ends

    def _slice_prompt(self, index: int) -> SlicePrompt:
        known = [drawn for prompt in self.prompts for drawn in prompt.slices if drawn.index == index]
        return known[0] if known else SlicePrompt(index)

    def _draw(self, new: SlicePrompt) -> None:
        """Put a slice prompt in its place; slices keep the order in which they were first drawn on: lesions are followed from the first."""
        slices = {drawn.index: drawn for prompt in self.prompts for drawn in prompt.slices} | {new.index: new}
        actions = sum((drawn.box is not None) + (len(drawn.points.labels) if drawn.points else 0) for drawn in slices.values())
        self.set((Prompt(LESION_ID, tuple(slices.values()), find_ends=self.follow, actions=actions),))

    def _require_inside(self, place: Sequence[int], index: int) -> None:
        if not all(0 <= n < count for n, count in zip((*place, index), self.shape, strict=True)):
            raise InputError("prompt", f"voxel {(*place, index)} lies outside an image of {self.shape} voxels", "Draw inside the picture.")

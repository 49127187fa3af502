"""Comparing crops with the exemplars' crops: cosines with the exemplar's vector, and the way back (FM-OSD)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from onemark.nn.embedding.embed import vectors_at
from onemark.nn.heatmaps.decode import Peaks, pixels_to_cells, soft_peaks
from onemark.nn.reader import Reader
from onemark.stages.refine.f2.search import candidates, peaks_at

AT_ONCE = 1 << 18  # crop px: as much as the largest network's descriptors leave room for


@dataclass(frozen=True)
class ExemplarCrops:
    """Crops of M exemplars around their landmarks.

    Attributes:
        views: `[M, K, 1, S, S]`, upright.
        xy: `[M, K, 2]` the landmarks (x, y) on them, crop px; NaN where one is not visible.
    """

    views: torch.Tensor
    xy: torch.Tensor


class Matching:
    """Finds landmarks on crops by descriptors.

    Args:
        reader: A network that turns crops `[N, 1, S, S]` into unit descriptors `[N, C, h, w]`.
        stride: Crop px per cell.
        temperature: Factor on cosines.
        known: The exemplars' crops.
        cycles: Whether the way back to the exemplars will be asked for, for which their descriptors are kept:
            `4 C h w` bytes for each landmark, 0.65 MB for crops of 64 px.
    """

    def __init__(
        self, reader: Reader, stride: int, temperature: float, known: ExemplarCrops, cycles: bool = False
    ) -> None:
        self.reader, self.stride, self.temperature = reader, stride, temperature
        device = reader.fabric.device
        self.cells = pixels_to_cells(known.xy, stride).to(device)
        self.visible = known.xy.isfinite().all(-1).to(device)
        self.maps: list[torch.Tensor] = []
        vectors = []
        # Vectors of landmarks that are not visible are never used: `visible` masks them.
        for one, places in zip(known.views, self.cells.nan_to_num(), strict=True):
            maps = torch.cat([reader(one[part]) for part in _parts(one)])
            vectors.append(vectors_at(maps, places[:, None])[:, 0])
            if cycles:
                self.maps.append(maps)
        self.vectors = torch.stack(vectors)

    def find(self, views: torch.Tensor, prior: torch.Tensor, top: int = 1) -> tuple[torch.Tensor, Peaks]:
        """Find landmarks on their crops.

        Args:
            views: `[K, 1, S, S]`.
            prior: `[K, h, w]` log-prior.
            top: How many places to try; with several, the one counts whose way back ends nearest to the landmark of the
                most similar exemplar (FM-OSD's bidirectional rule).

        Returns:
            Log-probabilities up to a constant `[K, h, w]`, and peaks in cells.
        """
        found = [self._find_part(views[part], part, prior[part], top) for part in _parts(views)]
        logits, *peaks = (torch.cat(one) for one in zip(*found, strict=True))
        return logits, Peaks(*peaks)

    def _find_part(
        self, views: torch.Tensor, part: slice, prior: torch.Tensor, top: int
    ) -> tuple[torch.Tensor, ...]:
        maps = self.reader(views)
        cosines = torch.einsum("mkc,kchw->mkhw", self.vectors[:, part], maps)
        likeness = cosines.flatten(2).amax(-1).masked_fill(~self.visible[:, part], -torch.inf)
        # The cycle needs one exemplar to come back to: the most similar one.
        which, k = likeness.argmax(0), torch.arange(len(maps), device=maps.device)
        weight = (likeness * self.temperature).softmax(0)
        joint = torch.einsum("mk,mkhw->khw", weight, cosines)
        logits = joint * self.temperature + prior.to(maps.device)
        if top == 1:
            peaks = soft_peaks(logits)
        else:
            places = candidates(logits, top)
            missed = self._cycle_errors(maps, places, which, part)
            peaks = peaks_at(logits, places[k, missed.argmin(1)])
        assert peaks.covariance is not None
        return tuple(t.cpu() for t in (logits, peaks.xy, peaks.score, peaks.spread, peaks.covariance))

    def _cycle_errors(
        self, maps: torch.Tensor, places: torch.Tensor, which: torch.Tensor, part: slice
    ) -> torch.Tensor:
        """Cycle errors `[k, N]`: how far, in cells, from the exemplar's landmark the way back from each candidate ends.

        Args:
            maps: `[k, C, h, w]` descriptors of some landmarks' crops.
            places: `[k, N, 2]` candidates on them.
            which: `[k]` exemplar that each landmark is compared with.
            part: Positions of these landmarks among all K.
        """
        numbers = range(part.start, part.start + len(maps))
        theirs = torch.stack([self.maps[m][k] for m, k in zip(which.tolist(), numbers, strict=True)])
        back = torch.einsum("knc,kchw->knhw", vectors_at(maps, places), theirs) * self.temperature
        found = soft_peaks(back.flatten(0, 1)).xy.view(places.shape)
        at = self.cells[which, torch.tensor(numbers, device=maps.device)]
        missed: torch.Tensor = (found - at[:, None]).norm(dim=-1)
        return missed


def _parts(views: torch.Tensor) -> Iterator[slice]:
    """Slices of crops `[K, 1, S, S]` that are small enough to read at once."""
    count = max(1, AT_ONCE // (views.shape[-1] * views.shape[-2]))
    return (slice(i, min(i + count, len(views))) for i in range(0, len(views), count))

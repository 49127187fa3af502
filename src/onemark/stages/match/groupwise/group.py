"""A group of radiographs that are registered with each other, and what joins it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from onemark.nn.recent import Recent
from onemark.nn.registration.features import Described, describe
from onemark.nn.registration.fields import Field, carry, follow, read_at, resize_field
from onemark.nn.registration.register import fit_affine, fit_field
from onemark.stages.match.groupwise.config import GroupwiseConfig
from onemark.stages.match.groupwise.consensus import agree_on, loop_errors, pass_over

COARSE = 8  # canvas px per cell where affine maps are fitted
# Vertebrae and fingers look like their neighbours; at stride 32 they are one column, or one hand.
STRIDES = (32, 16, 8, 4)
FINE = 2
AGREED = 8  # canvas px per cell down to which a radiograph outside the group is fitted to all references
OUTSIDE = 0.6  # share of the steps for a radiograph outside the group: half the time, and 0 to 0.07 % of the side worse
KEPT = 16  # combinations of sources whose channels are kept
TOGETHER = 32  # pairs per batch; bounds the memory

Pair = tuple[int, int]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Group:
    """R radiographs and how they lie on each other.

    Attributes:
        canvases: `[R, 1, H, W]`.
        fields: `[R, R, h, w, 2]` from radiograph i to radiograph j, canvas px, on a grid of stride 4.
        errors: `[R, R, h, w]` how far from its beginning the way there and back ends, cells of that grid.
        disputes: `[R, R, h, w]` how far the answers from i to j lay apart before they agreed, canvas px, on the coarsest
            grid; NaN where there was one answer alone.
    """

    canvases: torch.Tensor
    fields: torch.Tensor
    errors: torch.Tensor
    disputes: torch.Tensor

    def __len__(self) -> int:
        return len(self.canvases)

    @cached_property
    def _coarser(self) -> dict[int, tuple[Field, torch.Tensor]]:
        return {}

    def at(self, stride: int) -> tuple[Field, torch.Tensor]:
        """Fields and errors `[R, R, h, w(, 2)]` on a grid of that stride, canvas px and its cells; made once."""
        if stride not in self._coarser:
            shape = (self.canvases.shape[-2] // stride, self.canvases.shape[-1] // stride)
            fields = resize_field(self.fields.flatten(0, 1), shape)
            errors = F.interpolate(self.errors.flatten(0, 1)[:, None], shape, mode="bilinear")[:, 0]
            both = (len(self), len(self), *shape)
            self._coarser[stride] = fields.view(*both, 2), errors.view(both) * (STRIDES[-1] / stride)
        return self._coarser[stride]

    def index(self, canvas: torch.Tensor) -> int | None:
        """Position of a canvas `[1, H, W]` in the group; None where it is not one of its radiographs."""
        same = (self.canvases == canvas.to(self.canvases.device)).flatten(1).all(1)
        return int(same.int().argmax()) if bool(same.any()) else None


def empty_group(canvases: torch.Tensor) -> Group:
    """No radiographs yet, on canvases like `[B, 1, H, W]`."""
    (h, w), (rows, columns) = (
        (canvases.shape[-2] // stride, canvases.shape[-1] // stride) for stride in (STRIDES[-1], STRIDES[0])
    )
    fields, disputes = canvases.new_zeros(0, 0, h, w, 2), canvases.new_zeros(0, 0, rows, columns)
    return Group(canvases[:0], fields, fields[..., 0], disputes)


def extend_group(group: Group, canvases: torch.Tensor, config: GroupwiseConfig, report: Report) -> Group:
    """The group with more radiographs `[B, 1, H, W]`, registered with its own and with each other.

    The fields between the group's own radiographs stay as they are; new ones may pass over them.

    Args:
        group: The group.
        canvases: The radiographs that join.
        config: Steps and weights.
        report: Told how many of how many registrations are done.
    """
    old, everything = len(group), torch.cat([group.canvases, canvases])
    count = len(everything)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j and max(i, j) >= old]
    tell = _count(report, (1 + len(STRIDES)) * len(pairs))

    def fit(
        fields: torch.Tensor, base: torch.Tensor | None, stride: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        channels = describe(everything, stride, mostly_edges=base is None)
        fitted = _within(group.fields, count, channels)
        for i, j in _batches(pairs):
            ours, theirs = channels[i], channels[j]
            if base is None:
                fitted[i, j], _ = fit_affine(ours, theirs, config.affine_steps, stride)
            else:
                weights = (config.bending, config.diffusion)
                begin = fields[i, j]
                fitted[i, j] = fit_field(
                    ours, theirs, begin, config.field_steps, stride, *weights, base[i, j]
                )
            tell(len(i))
        return _settle(fitted, pairs, stride)

    affine, _, _ = fit(group.fields, None, COARSE)
    fields, errors, disputes = fit(affine, affine, STRIDES[0])
    disputes[:old, :old] = group.disputes
    for stride in STRIDES[1:]:
        fields, errors, _ = fit(fields, affine, stride)
    return Group(everything, fields, errors, disputes)


@dataclass(frozen=True)
class Ways:
    """How some exemplars reach a radiograph.

    Attributes:
        exemplars: Which, M of them.
        coarse: `[M, h, w, 2]` the fields on which the direct way and its detours agree, px, on a grid of stride 4.
        apart: `[M, h, w]` how far these answers lie apart, px.
        fields: `[M, H, W, 2]` the same fields fitted once more, px, on a grid of stride 2.
        disputes: `[M, h, w]` as a group's.
    """

    exemplars: list[int]
    coarse: Field
    apart: torch.Tensor
    fields: Field
    disputes: torch.Tensor

    def carry(self, xy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Points `[M, K, 2]` of the exemplars on the radiograph, and how unsure they are `[M, K]`; canvas px."""
        xy = xy.to(self.fields.device)
        here = carry(self.fields, xy, FINE)
        moved = (here - carry(self.coarse, xy, STRIDES[-1])).norm(dim=-1)
        return here, moved + read_at(self.apart[:, None], (xy + 0.5) / STRIDES[-1] - 0.5)[:, 0]

    def dispute(self, xy: torch.Tensor) -> torch.Tensor:
        """How far the answers for points `[M, K, 2]` lay apart before they agreed: `[M, K]` canvas px, NaN if unknown."""
        cells = (xy.to(self.disputes.device) + 0.5) / STRIDES[0] - 0.5
        return read_at(self.disputes[:, None], cells)[:, 0]


class DescribedSources:
    """Keeps what radiographs are compared by, since most radiographs are reached from the same few."""

    def __init__(self) -> None:
        self._known = Recent[tuple[tuple[int, int], ...], tuple[list[torch.Tensor], Described]](KEPT)
        self._all: Described | None = None

    def of(self, places: Sequence[tuple[torch.Tensor, int]]) -> Described:
        """The radiographs at these positions of canvases `[B, 1, H, W]`, together."""

        def make() -> tuple[list[torch.Tensor], Described]:
            # The canvases are kept as well, so that nothing else gets their identity.
            found = Described(torch.stack([canvases[index] for canvases, index in places]))
            return [canvases for canvases, _ in places], found

        return self._known.get(tuple((id(canvases), index) for canvases, index in places), make)[1]

    def all(self, canvases: torch.Tensor) -> Described:
        """All canvases `[B, 1, H, W]`, together."""
        if self._all is None or self._all.canvases is not canvases:
            self._all = Described(canvases)
        return self._all


def arrive(
    group: Group,
    which: list[int],
    exemplars: torch.Tensor,
    target: Described,
    config: GroupwiseConfig,
    known: DescribedSources | None = None,
) -> Ways:
    """Ways from exemplars to any radiograph: direct, and over radiographs of the group.

    Args:
        group: The group. Only an exemplar that belongs to it has detours.
        which: M positions among the exemplars.
        exemplars: `[N, 1, H, W]`.
        target: The radiograph.
        config: Steps and weights.
        known: Keeps the channels of exemplars and group from one radiograph to the next.
    """
    known = known or DescribedSources()
    places = [group.index(exemplars[one]) for one in which]
    # Radiographs by their position in the group; exemplars outside it count down from -1.
    keys = [-1 - n if place is None else place for n, place in enumerate(places)]
    member = group.index(target.canvases[0])
    inside = [k for k in range(len(group)) if k != member]
    rest = [k for k in keys if k < 0]
    if member is None:
        rest = inside + rest
    last = {} if member is None else {k: group.fields[k, member] for k in inside}
    disputes = {} if member is None else {k: group.disputes[k, member] for k in inside}
    if rest:
        config = config.shortened(OUTSIDE)
        sources = known.of([(exemplars, which[-1 - k]) if k < 0 else (group.canvases, k) for k in rest])
        found, disputed = _approach(group, rest, keys, sources, target, config)
        last, disputes = last | found, disputes | disputed
    over = [k for k in last if k >= 0]
    agreed = [_agree_over(group, k, over, last) for k in keys]
    coarse, apart = (torch.stack(parts) for parts in zip(*agreed, strict=True))
    finest = known.of([(exemplars, one) for one in which])
    unknown = torch.full(group.disputes.shape[2:], torch.nan, device=apart.device)
    before = torch.stack([disputes.get(k, unknown) for k in keys])
    return Ways(which, coarse, apart, _refine(finest, target, coarse, config), before)


def _approach(
    group: Group,
    which: Sequence[int],
    keys: Sequence[int],
    sources: Described,
    target: Described,
    config: GroupwiseConfig,
) -> tuple[dict[int, Field], dict[int, torch.Tensor]]:
    """Fields `[h, w, 2]` from exemplars and references to a radiograph outside the group, by their keys.

    And how far the answers of each lay apart before they agreed on the coarsest grid, `[h, w]`.

    On coarse grids, which take little time, all references are fitted and agree. On the finest one the exemplars are, and
    as many references as there may be detours; an exemplar inside the group is a detour of the others.

    Args:
        group: The group.
        which: The keys of the sources: of all references, or of none, and of exemplars outside the group.
        keys: Of the exemplars.
        sources: The radiographs of these keys.
        target: The radiograph.
        config: Steps and weights.
    """
    at = list(range(len(which)))
    few = _fewer(which, keys, config.detours)
    ours, theirs = (
        one.at(COARSE, many, mostly_edges=True) for one, many in ((sources, 1), (target, len(at)))
    )
    affine, _ = fit_affine(ours, theirs, config.affine_steps, COARSE)
    fields, disputes = affine, dict[int, torch.Tensor]()
    for stride in STRIDES:
        if stride < AGREED and at != few:
            fields, affine, at = fields[few], affine[few], few
        ours, theirs = sources.at(stride)[at], target.at(stride, len(at))
        weights = (config.bending, config.diffusion)
        fields = fit_field(ours, theirs, fields, config.field_steps, stride, *weights, affine)
        if stride >= AGREED:
            fields, apart = agree_outside(group, which, fields, stride)
            disputes = disputes or dict(zip(which, apart, strict=True))
    return dict(zip((which[n] for n in at), fields, strict=True)), disputes


def _fewer(which: Sequence[int], keys: Sequence[int], detours: int) -> list[int]:
    """Positions of the exemplars among radiographs, and of as many references as there may be detours."""
    ours = [n for n, k in enumerate(which) if k in keys]
    others = [n for n, k in enumerate(which) if k not in keys]
    return ours + others[: max(0, detours - max(0, sum(which[n] >= 0 for n in ours) - 1))]


def agree_outside(
    group: Group, which: Sequence[int], fields: Field, stride: int
) -> tuple[Field, torch.Tensor]:
    """Fields to a radiograph outside the group on which the direct ways and their detours agree.

    Args:
        group: The group.
        which: P positions in it; a radiograph outside it has a number below zero, and keeps its field.
        fields: `[P, h, w, 2]` from each of them.
        stride: Canvas px per cell.

    Returns:
        `[P, h, w, 2]`, and how far the answers lay apart `[P, h, w]`, px; NaN where there was one alone.
    """
    rows = [n for n, k in enumerate(which) if k >= 0]
    apart = torch.full_like(fields[..., 0], torch.nan)
    if len(rows) < 2:
        return fields, apart
    inside, count = [which[n] for n in rows], len(rows)
    between, errors = (one[inside][:, inside] for one in group.at(stride))
    # The way from a radiograph over itself is the direct one, without an error.
    answers = follow(between.flatten(0, 1), fields[rows].repeat(count, 1, 1, 1), stride)
    ways = answers.view(count, count, *answers.shape[1:]).transpose(0, 1)
    agreed = fields.clone()
    agreed[rows], apart[rows] = agree_on(ways, errors.transpose(0, 1) ** 2, stride)
    return agreed, apart


def _agree_over(
    group: Group, key: int, over: Sequence[int], last: Mapping[int, Field]
) -> tuple[Field, torch.Tensor]:
    """A field to the radiograph that all of `last` lead to, and how far the answers lie apart."""
    none = torch.zeros(group.errors.shape[2:], device=group.errors.device)
    if key not in last:
        return torch.zeros(*none.shape, 2, device=none.device), none
    detours = [] if key < 0 else [k for k in over if k != key]
    answers = [follow(group.fields[key, k][None], last[k][None], STRIDES[-1])[0] for k in detours]
    doubt = [none, *(group.errors[key, k] ** 2 for k in detours)]
    return agree_on(torch.stack([last[key], *answers]), torch.stack(doubt), STRIDES[-1])


def _refine(sources: Described, target: Described, fields: Field, config: GroupwiseConfig) -> Field:
    """Fields `[P, h, w, 2]` from P radiographs to one, at twice the resolution."""
    ours, theirs = sources.at(FINE), target.at(FINE, len(sources.canvases))
    return fit_field(ours, theirs, fields, config.field_steps, FINE, config.bending, config.hold)


def _within(known: torch.Tensor, count: int, channels: torch.Tensor) -> torch.Tensor:
    """Fields `[count, count, h, w, 2]` on the channels' grid: the known ones, and none for the others."""
    shape = (channels.shape[2], channels.shape[3])
    fields = channels.new_zeros(count, count, *shape, 2)
    if len(known):
        fields[: len(known), : len(known)] = resize_field(known.flatten(0, 1), shape).view(
            *known.shape[:2], *shape, 2
        )
    return fields


def _settle(
    fields: torch.Tensor, pairs: Sequence[Pair], stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Let each of the pairs agree with its detours.

    Returns:
        The fields `[R, R, h, w, 2]`, their loop errors, and how far the answers lay apart, px; NaN for other pairs.
    """
    count = len(fields)
    errors = _loops(fields, stride)
    settled, apart = fields.clone(), torch.full_like(errors, torch.nan)
    for i, j in pairs:
        over = [k for k in range(count) if k not in (i, j)]
        if over:
            detours = pass_over(fields[i, over], errors[i, over], fields[over, j], errors[over, j], stride)
            answers = torch.cat([fields[i, j][None], detours[0]])
            doubt = torch.cat([errors[i, j][None] ** 2, detours[1]])
            settled[i, j], apart[i, j] = agree_on(answers, doubt, stride)
    return settled, _loops(settled, stride), apart


def _loops(fields: torch.Tensor, stride: int) -> torch.Tensor:
    there = fields.flatten(0, 1)
    back = fields.transpose(0, 1).flatten(0, 1)
    return loop_errors(there, back, stride).view(fields.shape[:-1])


def _batches(pairs: Sequence[Pair]) -> Iterator[tuple[list[int], list[int]]]:
    """The pairs' first and second radiographs, a batch at a time."""
    for n in range(0, len(pairs), TOGETHER):
        some = pairs[n : n + TOGETHER]
        yield [i for i, _ in some], [j for _, j in some]


def _count(report: Report, total: int) -> Callable[[int], None]:
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        report(done, total)

    return tell

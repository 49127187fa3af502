"""A registration between two canvases: an affine map and a displacement field, applied, composed and inverted exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from onemark.imaging.augment import invert_displacement, sample
from onemark.imaging.letterbox import Size
from onemark.nn.heatmaps.decode import cells_to_pixels, pixels_to_cells


@dataclass  # not frozen: Fabric takes what goes through a module apart and puts it together again
class Transform:
    """A batch of maps from a target's pixels q to a source's pixels: `p = M (q + D(q) - c) + c + t`.

    The source warped onto the target has at q the grey value that the source has at p. A landmark p of the source lies
    on the target at the q that is mapped to it: points take the inverse of the map that pictures take. c is the centre
    of the canvas.

    Attributes:
        matrix: `[B, 2, 2]` M, on (x, y).
        translation: `[B, 2]` t (x, y), canvas pixels.
        displacement: `[B, 2, h, w]` D (x, y), canvas pixels, at the centres of the cells of a coarser grid; constant
            beyond the outermost centres.
        canvas: `(H, W)`; h and w divide them by the same number, the field's stride.
    """

    matrix: torch.Tensor
    translation: torch.Tensor
    displacement: torch.Tensor
    canvas: Size

    @classmethod
    def identity(cls, batch: int, canvas: Size, stride: int, device: torch.device) -> Transform:
        """The map that moves nothing, with a field of `stride` px per cell."""
        field = torch.zeros(batch, 2, canvas[0] // stride, canvas[1] // stride, device=device)
        return cls(
            torch.eye(2, device=device).expand(batch, 2, 2),
            torch.zeros(batch, 2, device=device),
            field,
            canvas,
        )

    @property
    def stride(self) -> int:
        """Pixels per cell of the field."""
        return self.canvas[0] // self.displacement.shape[-2]

    def detach(self) -> Transform:
        """The same map, through which no gradient flows."""
        return replace(
            self,
            matrix=self.matrix.detach(),
            translation=self.translation.detach(),
            displacement=self.displacement.detach(),
        )

    def to(self, device: torch.device) -> Transform:
        """The same map on a device."""
        return replace(
            self,
            matrix=self.matrix.to(device),
            translation=self.translation.to(device),
            displacement=self.displacement.to(device),
        )

    def take(self, index: slice | torch.Tensor) -> Transform:
        """Some maps of the batch."""
        return replace(
            self,
            matrix=self.matrix[index],
            translation=self.translation[index],
            displacement=self.displacement[index],
        )

    def affine(self, xy: torch.Tensor) -> torch.Tensor:
        """`M (xy - c) + c + t` of points `[B, ..., 2]`: the map without its field, in the points' precision."""
        shape = (-1, *[1] * (xy.dim() - 2), 2)
        h, w = self.canvas
        centre = torch.tensor([(w - 1) / 2, (h - 1) / 2], device=xy.device)
        x, y = (xy - centre).unbind(-1)  # autocast would round a matrix product to whole pixels
        columns = self.matrix[..., 0].reshape(shape), self.matrix[..., 1].reshape(shape)
        moved: torch.Tensor = x[..., None] * columns[0] + y[..., None] * columns[1]
        return moved + centre + self.translation.reshape(shape)

    def __call__(self, xy: torch.Tensor) -> torch.Tensor:
        """Target points `[B, N, 2]` (x, y) to source points."""
        return self.affine(xy + self.displacement_at(xy[:, None])[:, 0])

    def grid(self, stride: int) -> torch.Tensor:
        """Source points `[B, H / stride, W / stride, 2]` of the centres of the target's cells."""
        centres = cell_centres(self.canvas, stride, self.displacement.device)
        return self.affine(centres + self.field(stride).permute(0, 2, 3, 1))

    def field(self, stride: int) -> torch.Tensor:
        """The displacement D at another stride: `[B, 2, H / stride, W / stride]`."""
        size = (self.canvas[0] // stride, self.canvas[1] // stride)
        if stride == self.stride:
            return self.displacement
        if stride > self.stride:
            return F.interpolate(self.displacement, size, mode="area")
        return F.interpolate(self.displacement, size, mode="bilinear", align_corners=False)

    def images(self, source: torch.Tensor, stride: int = 1, padding: str = "zeros") -> torch.Tensor:
        """Warp sources or their features `[B, C, H / stride, W / stride]` onto the targets; outside is 0."""
        cells = pixels_to_cells(self.grid(stride), stride)
        return sample(source.float(), cells, padding)

    def then(self, field: torch.Tensor) -> Transform:
        """Compose with a further displacement d `[B, 2, h, w]` (px) on the target's side: `q -> T(q + d(q))`."""
        wide = self.displacement
        if wide.shape != field.shape:
            wide = self.field(self.canvas[0] // field.shape[-2])
        centres = cell_centres(self.canvas, self.canvas[0] // field.shape[-2], field.device)
        cells = pixels_to_cells(centres + field.permute(0, 2, 3, 1), self.canvas[0] // field.shape[-2])
        return replace(self, displacement=field + sample(wide, cells, "border"))

    def inverse(self, xy: torch.Tensor) -> torch.Tensor:
        """Source points `[B, N, 2]` to the target points that are mapped to them.

        A damped fixed-point iteration of `q = A^-1 p - D(q)`. It starts at the best cell centre of the field's grid, so
        that it arrives where a field folds as well. The released code takes a single step, `p - D(p)`.
        """
        aims = self._invert_affine(xy)
        centres = cell_centres(self.canvas, self.stride, xy.device).flatten(0, 1)
        reached = centres + self.displacement.flatten(2).transpose(1, 2)
        nearest = (reached[:, None] - aims[:, :, None]).square().sum(-1).argmin(-1)
        return invert_displacement(aims, lambda q: self.displacement_at(q[:, None])[:, 0], centres[nearest])

    def toward(self, known: torch.Tensor, stride: int) -> torch.Tensor:
        """The further displacement `[B, h, w, 2]`, cells, that leads to known source points of the target's cells.

        To first order: it takes the field as constant around each cell.

        Args:
            known: `[B, h, w, 2]` source px (x, y).
            stride: Px per cell of that grid.
        """
        inverse = torch.linalg.inv(self.matrix.float())
        x, y = (known - self.grid(stride)).unbind(-1)
        columns = inverse[:, None, None, :, 0], inverse[:, None, None, :, 1]
        away: torch.Tensor = x[..., None] * columns[0] + y[..., None] * columns[1]
        return away / stride

    def displacement_at(self, xy: torch.Tensor) -> torch.Tensor:
        """D at points `[B, h, w, 2]`."""
        cells = pixels_to_cells(xy, self.stride)
        return sample(self.displacement, cells, "border").permute(0, 2, 3, 1)

    def _invert_affine(self, xy: torch.Tensor) -> torch.Tensor:
        inverse = torch.linalg.inv(self.matrix.float())
        back = replace(self, matrix=inverse, translation=torch.zeros_like(self.translation))
        return back.affine(xy - self.translation[:, None])


def cell_centres(canvas: Size, stride: int, device: torch.device | None = None) -> torch.Tensor:
    """Canvas pixels (x, y) of the centres of a grid's cells: `[H / stride, W / stride, 2]`."""
    sides = (torch.arange(n // stride, device=device, dtype=torch.float32) for n in canvas)
    y, x = torch.meshgrid(*(cells_to_pixels(n, stride) for n in sides), indexing="ij")
    return torch.stack([x, y], -1)

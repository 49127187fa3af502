"""The keys: one table that binds them, shows them and documents them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from napari.components import ViewerModel

from onemark.gui.controllers.app import App

RADIOGRAPHS, LANDMARKS, TRAINING, REVIEW, STEPS = "Radiographs", "Landmarks", "Training", "Review", "Steps"


@dataclass(frozen=True)
class Action:
    """One thing done by a key.

    Attributes:
        keys: napari key bindings, such as `Control-Z`; any of them works.
        text: What it does.
        act: Does it.
        group: Heading in the list.
        shown: How the list writes the keys, when several actions share a line; their others have no `text`.
    """

    keys: tuple[str, ...]
    text: str
    act: Callable[[], object]
    group: str
    shown: str = ""

    @property
    def label(self) -> str:
        """The keys as people write them."""
        return self.shown or " or ".join(
            key.replace("Control", "Ctrl").replace("-", "+") for key in self.keys
        )


def make_actions(app: App, pressed: Callable[[str], None], show_keys: Callable[[], None]) -> list[Action]:
    """Every key of the plugin.

    Args:
        app: What the keys act on.
        pressed: Presses the control of that name, so that a key never does what its button could not.
        show_keys: Shows the list of keys.
    """
    session, step, nudge = app.session, app.viewing.step, app.context.points.nudge
    return [
        Action(("N", "PageDown"), "Next radiograph of the list", lambda: step(1), RADIOGRAPHS),
        Action(("B", "PageUp"), "Previous radiograph of the list", lambda: step(-1), RADIOGRAPHS),
        Action(("Alt-O",), "Open a folder", lambda: pressed("open"), RADIOGRAPHS),
        Action(("E",), "Next landmark", lambda: session.select(session.landmark + 1), LANDMARKS),
        Action(("Q",), "Previous landmark", lambda: session.select(session.landmark - 1), LANDMARKS),
        Action(("W",), "This landmark is not visible", lambda: pressed("landmark.skip"), LANDMARKS),
        Action(("Control-Z",), "Undo the last placement here", session.undo, LANDMARKS),
        Action(("Control-Shift-Z",), "Redo", session.redo, LANDMARKS),
        Action(
            ("Shift-Left",), "Move the point by one pixel", lambda: nudge(-1, 0), LANDMARKS, "Shift+arrows"
        ),
        Action(("Shift-Right",), "", lambda: nudge(1, 0), LANDMARKS),
        Action(("Shift-Up",), "", lambda: nudge(0, -1), LANDMARKS),
        Action(("Shift-Down",), "", lambda: nudge(0, 1), LANDMARKS),
        Action(("Alt-S",), "Suggest which radiographs to mark", lambda: pressed("suggest"), TRAINING),
        Action(("Control-Enter",), "Train", lambda: pressed("run"), TRAINING),
        Action(("Control-.",), "Stop the training or the suggestion", lambda: pressed("stop"), TRAINING),
        Action(
            ("Control-Shift-Enter",), "Retrain with the corrected ones", lambda: pressed("retrain"), TRAINING
        ),
        Action(("Enter",), "Confirm the points and go on", lambda: pressed("confirm"), REVIEW),
        Action(("I",), "Evidence on or off", lambda: pressed("evidence"), REVIEW),
        Action(("Alt-E",), "Export", lambda: pressed("export"), STEPS),
        Action(("Alt-1",), "Go to a step", lambda: app.go(0), STEPS, "Alt+1 … Alt+5"),
        *(Action((f"Alt-{i + 1}",), "", partial(app.go, i), STEPS) for i in range(1, 5)),
        Action(("F1",), "This list", show_keys, STEPS),
    ]


def bind(viewer: ViewerModel, actions: list[Action]) -> None:
    """Bind the keys on the viewer; they work in the canvas and, where nothing is typed, in the widget."""
    for action in actions:
        for key in action.keys:
            viewer.bind_key(key, lambda viewer, act=action.act: act(), overwrite=True)


def unbind(viewer: ViewerModel, actions: list[Action]) -> None:
    """Give the keys back."""
    for action in actions:
        for key in action.keys:
            viewer.bind_key(key, None, overwrite=True)

"""The keys: one table that binds them and lists them for the person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from napari.components import ViewerModel

from onemark.gui.controllers.app import App

RADIOGRAPHS, LANDMARKS, TRAINING, REVIEW, STEPS = "Radiographs", "Landmarks", "Training", "Review", "Steps"


@dataclass(frozen=True)
class Action:
    """Something that a key does.

    Attributes:
        keys: napari key bindings, such as `Control-Z`; any of them works.
        text: What it does; empty for an action that shares the line of another one.
        act: Does it.
        group: Heading in the list of keys.
        shown: How the list writes the keys of several actions on one line.
    """

    keys: tuple[str, ...]
    text: str
    act: Callable[[], object]
    group: str
    shown: str = ""

    @property
    def label(self) -> str:
        """The keys as people write them, such as `Ctrl+Z`."""
        return self.shown or " or ".join(
            key.replace("Control", "Ctrl").replace("-", "+") for key in self.keys
        )


def make_actions(app: App, press: Callable[[str], None], show_keys: Callable[[], None]) -> list[Action]:
    """Make the list of all keys of the plugin.

    Args:
        app: What the keys act on.
        press: Presses the control of that name, so that a key never does more than its button.
        show_keys: Shows the list of keys.
    """
    session, step, nudge = app.session, app.viewing.step, app.context.points.nudge
    return [
        Action(("N", "PageDown"), "Go to the next radiograph of the list", lambda: step(1), RADIOGRAPHS),
        Action(("B", "PageUp"), "Go to the previous radiograph of the list", lambda: step(-1), RADIOGRAPHS),
        Action(("Alt-I",), "Exchange black and white", app.contrast.invert, RADIOGRAPHS),
        Action(("Alt-0",), "Bring the original contrast back", app.contrast.reset, RADIOGRAPHS),
        Action(("Alt-L",), "Switch the lens off or on", lambda: press("lens"), RADIOGRAPHS),
        Action(("Alt-O",), "Open a folder", lambda: press("open"), RADIOGRAPHS),
        Action(("E",), "Go to the next landmark", lambda: session.select(session.landmark + 1), LANDMARKS),
        Action(
            ("Q",), "Go to the previous landmark", lambda: session.select(session.landmark - 1), LANDMARKS
        ),
        Action(("W",), "Declare this landmark not visible", lambda: press("landmark.skip"), LANDMARKS),
        Action(("Control-Z",), "Undo the last edit of this radiograph", app.undo, LANDMARKS),
        Action(("Control-Shift-Z",), "Redo", app.redo, LANDMARKS),
        Action(
            ("Shift-Left",), "Move the point by one pixel", lambda: nudge(-1, 0), LANDMARKS, "Shift+arrows"
        ),
        Action(("Shift-Right",), "", lambda: nudge(1, 0), LANDMARKS),
        Action(("Shift-Up",), "", lambda: nudge(0, -1), LANDMARKS),
        Action(("Shift-Down",), "", lambda: nudge(0, 1), LANDMARKS),
        Action(("Alt-S",), "Suggest which radiographs to annotate", lambda: press("suggest"), TRAINING),
        Action(("Control-Enter",), "Train", lambda: press("run"), TRAINING),
        Action(("Control-.",), "Stop the training or the suggestion", lambda: press("stop"), TRAINING),
        Action(
            ("Control-Shift-Enter",),
            "Retrain with the corrected radiographs",
            lambda: press("retrain"),
            TRAINING,
        ),
        Action(("Enter",), "Confirm the points, go to the next radiograph", lambda: press("confirm"), REVIEW),
        Action(("I",), "Show or hide the evidence", lambda: press("evidence"), REVIEW),
        Action(("Alt-E",), "Export", lambda: press("export"), STEPS),
        Action(("Alt-1",), "Go to a step", lambda: app.go(0), STEPS, "Alt+1 … Alt+5"),
        *(Action((f"Alt-{i + 1}",), "", partial(app.go, i), STEPS) for i in range(1, 5)),
        Action(("F1",), "Show this list", show_keys, STEPS),
    ]


def bind(viewer: ViewerModel, actions: list[Action]) -> None:
    """Bind the keys on the viewer; they work in the canvas and, except in text fields, in the widget."""
    for action in actions:
        for key in action.keys:
            viewer.bind_key(key, lambda viewer, act=action.act: act(), overwrite=True)


def unbind(viewer: ViewerModel, actions: list[Action]) -> None:
    """Give the keys back."""
    for action in actions:
        for key in action.keys:
            viewer.bind_key(key, None, overwrite=True)

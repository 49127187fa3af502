"""Colours and style sheet of the panel, from napari's theme so that it looks at home in every theme."""

from __future__ import annotations

from dataclasses import dataclass

from napari.settings import get_settings
from napari.utils.theme import get_theme


@dataclass(frozen=True)
class Theme:
    """The colours of one theme, as `#rrggbb`.

    Attributes:
        dark: Whether the theme is dark.
        ground: Background.
        card: Raised parts.
        line: Borders.
        text: Text.
        muted: Hints.
        accent: The step in view and the button to press next.
        on_accent: Text on the accent.
        good: Success.
        warn: Something that needs attention.
        bad: A failure.
        points: Size of the letters, in pt.
    """

    dark: bool
    ground: str
    card: str
    line: str
    text: str
    muted: str
    accent: str
    on_accent: str
    good: str
    warn: str
    bad: str
    points: int

    @classmethod
    def from_napari(cls, theme: str) -> Theme:
        """Derive the colours from the napari theme of this name."""
        colours = get_theme(theme)
        dark = colours.type == "dark"
        ground, text = colours.background.as_hex("long"), colours.text.as_hex("long")
        return cls(
            dark=dark,
            ground=ground,
            card=colours.foreground.as_hex("long"),
            line=colours.primary.as_hex("long"),
            text=text,
            muted=mix(text, ground, 0.34),
            accent="#5b7cff" if dark else "#2f55d4",
            on_accent="#ffffff",
            good="#2fbf8f" if dark else "#0f8a62",
            warn="#e3b617" if dark else "#8f6b00",
            bad="#ff5d6c" if dark else "#c2182b",
            points=get_settings().appearance.font_size,
        )

    def sheet(self) -> str:
        """The style sheet of the panel, in addition to napari's."""
        return _SHEET.format(
            **vars(self),
            title=self.points + 2,
            ask=self.points + 3,
            hover=mix(self.accent, self.text, 0.12),
            soft=self.tint(self.accent),
        )

    def tint(self, colour: str) -> str:
        """A quiet background in this colour."""
        return mix(self.ground, colour, 0.18 if self.dark else 0.14)


def mix(first: str, second: str, share: float) -> str:
    """Mix `share` of the second colour into the first; colours are `#rrggbb`."""
    pairs = zip(_split_channels(first), _split_channels(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _split_channels(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


_SHEET = """
QWidget {{ font-size: {points}pt; }}
QLabel {{ background: transparent; }}
QLabel[role="title"] {{ font-weight: 600; font-size: {title}pt; }}
QLabel[role="hint"] {{ color: {muted}; }}
QLabel[role="bad-title"] {{ font-weight: 600; font-size: {title}pt; color: {bad}; }}
QLabel[role="ask"] {{ font-weight: 600; font-size: {ask}pt; }}
QPushButton {{ padding: 5px 10px; border-radius: 4px; }}
QPushButton[role="main"] {{ background: {accent}; color: {on_accent}; font-weight: 600; }}
QPushButton[role="main"]:hover {{ background: {hover}; }}
QPushButton[role="main"]:disabled {{ background: {line}; color: {muted}; font-weight: 400; }}
QPushButton:focus, QToolButton:focus {{ border: 1px solid {accent}; }}
QToolButton {{ padding: 3px 6px; border-radius: 4px; border: 1px solid transparent; background: {card}; }}
QToolButton:hover {{ background: {line}; }}
QToolButton[role="link"] {{ background: transparent; color: {muted}; text-align: left; }}
QToolButton[role="link"]:hover {{ color: {text}; }}
QToolButton[role="tab"] {{ background: transparent; color: {muted}; }}
QToolButton[role="tab"]:checked {{ color: {text}; font-weight: 600; border-bottom: 2px solid {accent}; }}
QTableView {{ border: 1px solid {line}; border-radius: 4px; background: {ground}; outline: 0; }}
QTableView::item {{ padding: 1px 4px; border: 0; }}
QTableView::item:selected {{ background: {soft}; color: {text}; }}
QHeaderView::section {{ background: {ground}; color: {muted}; border: 0; padding: 3px 4px;
    border-bottom: 1px solid {line}; }}
QProgressBar {{ border: 0; border-radius: 3px; background: {line}; max-height: 6px; min-height: 6px; }}
QProgressBar::chunk {{ background: {accent}; border-radius: 3px; }}
QScrollArea {{ border: 0; }}
#onemark\\.drop {{ border: 1px dashed {muted}; border-radius: 8px; }}
"""

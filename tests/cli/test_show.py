"""What a running job says on stderr."""

from __future__ import annotations

import pytest

from onemark.cli.show import Show
from onemark.progress import SKIPPED, Progress


def test_only_skipped_radiographs_are_collected(capsys: pytest.CaptureFixture[str]):
    bad, note = f"{SKIPPED}a.png: cut off; copy it again", "no exemplar shows it: nose"
    with Show() as show:
        for message in (bad, note, bad, note):
            show(Progress("read", 0, 1, message=message))
    assert show.messages == [bad]
    assert capsys.readouterr().err.splitlines() == [bad, note]

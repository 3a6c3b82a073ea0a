"""An explanation as one picture: the image, what was seen of it, what spoke, and the experts.

path, verdict, score
the whole image | what the detector saw | the same under the heatmap
router by router: which expert each patch took, and the experts' shares
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fakescan.explain.colours import FAKE, REAL, cells, expert_colours, heat, tinted
from fakescan.explain.explanation import NO_EXPERT, Explanation, Routing
from fakescan.explain.frame import WHOLE_PX, Frame
from fakescan.explain.sheet import INK, LINE, QUIET, Sheet, printable, shortened, text_width
from fakescan.records import Finding
from fakescan.report.table import visible

PANEL_PX = WHOLE_PX
"""Side of the three pictures; the whole image fits inside."""
GAP_PX, MARGIN_PX = 28, 30
WIDTH_PX = 2 * MARGIN_PX + 3 * PANEL_PX + 2 * GAP_PX
COLUMNS_PX = tuple(MARGIN_PX + i * (PANEL_PX + GAP_PX) for i in range(3))
TOP_PX = 118
"""Of the three pictures."""
NOTES_GAP_PX = 10
NOTES_PX = TOP_PX + PANEL_PX + NOTES_GAP_PX
EXPERTS_PX = NOTES_PX + 124
MAP_PX, ROW_PX = 154, 196
"""Side of an expert map, and from one row of them to the next."""
FULL_LOGIT = 8.0
"""Colours are full where a crop that was all like this patch would move the logit by as much."""
UNSEEN = 0.35
"""Brightness of what the detector did not look at."""
VERDICTS = {"fake": FAKE, "uncertain": (138, 92, 0), "real": REAL}


def figure(
    finding: Finding, crop: NDArray[np.uint8], frame: Frame, explanation: Explanation
) -> bytes:
    """Draw an explanation; gives a PNG.

    Args:
        finding: of an image that has a score.
        crop: (S, S, 3) RGB, the square in the middle, as scored.
        frame: where the crop lies in the image.
        explanation: of the crop.
    """
    rows = -(-len(explanation.routings) // len(COLUMNS_PX))
    sheet = Sheet(WIDTH_PX, EXPERTS_PX + (36 + rows * ROW_PX if rows else 0))
    _write_head(sheet, finding)
    _draw_whole(sheet, finding, frame, explanation.squares)
    _draw_crop(sheet, finding, crop, frame)
    _draw_heat(sheet, finding, crop, explanation)
    if rows:
        _draw_experts(sheet, crop, explanation)
    return sheet.png()


def _write_head(sheet: Sheet, finding: Finding) -> None:
    path = shortened(printable(visible(finding.path)), 22, WIDTH_PX - 2 * MARGIN_PX)
    sheet.text((MARGIN_PX, 20), path, 22)
    verdict = finding.verdict.value
    sheet.text((MARGIN_PX, 52), verdict, 16, VERDICTS.get(verdict, INK))
    facts = f"score {finding.score:.3f}    logit {finding.logit:+.2f}    {finding.detector}"
    place = MARGIN_PX + text_width(verdict, 16) + 20, 52
    sheet.text(place, printable(facts), 16, QUIET)


def _draw_whole(sheet: Sheet, finding: Finding, frame: Frame, squares: int) -> None:
    """The whole image, dark outside the square that is explained."""
    whole = _enlarged(frame.whole)  # (h, w, 3)
    height, width = whole.shape[:2]
    left, top, right, bottom = (
        min(side, max(0, round(at * side)))
        for at, side in zip(frame.box, (width, height) * 2, strict=True)
    )
    shown = (whole * UNSEEN).astype(np.uint8)
    shown[top:bottom, left:right] = whole[top:bottom, left:right]
    x, y = COLUMNS_PX[0], TOP_PX
    _caption(sheet, 0, "The image")
    sheet.picture((x, y), shown)
    sheet.outline((x + left, y + top, x + right, y + bottom), (255, 255, 255), 2)
    share = (right - left) * (bottom - top) / (width * height)
    below = y + height + NOTES_GAP_PX
    sheet.text((x, below), f"{finding.width} x {finding.height} pixels", 13, QUIET)
    what = "what the detector saw" if squares == 1 else f"the middle one of {squares} squares"
    sheet.text((x, below + 18), f"bright: {what}, {share:.1%}", 13, QUIET)


def _draw_crop(sheet: Sheet, finding: Finding, crop: NDArray[np.uint8], frame: Frame) -> None:
    left, top, right, bottom = frame.box
    width, height = finding.width or 0, finding.height or 0
    cut = round((right - left) * width), round((bottom - top) * height)
    origin = "as they are" if cut == crop.shape[:2] else f"from {cut[0]} x {cut[1]} of the image"
    _caption(sheet, 1, "What the detector saw")
    sheet.picture((COLUMNS_PX[1], TOP_PX), _panel(crop))
    note = f"{len(crop)} x {len(crop)} pixels, {origin}"
    sheet.text((COLUMNS_PX[1], NOTES_PX), note, 13, QUIET)


def _draw_heat(
    sheet: Sheet, finding: Finding, crop: NDArray[np.uint8], explanation: Explanation
) -> None:
    patches = explanation.patches  # (G, G)
    strength = cells(patches * np.float64(patches.size / FULL_LOGIT), PANEL_PX)
    left, right = COLUMNS_PX[2], COLUMNS_PX[2] + PANEL_PX
    _caption(sheet, 2, "What spoke for fake, and for real")
    sheet.picture((left, TOP_PX), heat(_panel(crop), strength))
    scale = np.tile(np.linspace(-1, 1, PANEL_PX), (10, 1))  # (10, PANEL_PX)
    sheet.picture((left, NOTES_PX), heat(np.full((10, PANEL_PX, 3), 255, np.uint8), scale))
    below = NOTES_PX + 15
    sheet.text((left, below), "for real", 13, REAL)
    sheet.text((right, below), "for fake", 13, FAKE, "ra")
    for i, (words, value) in enumerate(_sums(finding, explanation)):
        y = below + 26 + 18 * i
        sheet.text((left, y), words, 13, QUIET)
        sheet.text((right, y), value, 13, INK, "ra")


def _sums(finding: Finding, explanation: Explanation) -> list[tuple[str, str]]:
    """What of the logit is on the map, and what has no place there."""
    if explanation.method == "occlusion":
        return [("found by covering parts of the crop", "")]
    placed = round(float(explanation.patches.sum()), 2)
    logit = round(explanation.logit, 2)
    mean = f", mean of {explanation.squares} {finding.logit:+.2f}"
    return [
        ("all patches together", f"{placed:+.2f}"),
        ("not on the map: class token, bias", f"{logit - placed:+.2f}"),
        ("logit" + (mean if explanation.squares > 1 else ""), f"{logit:+.2f}"),
    ]


def _draw_experts(sheet: Sheet, crop: NDArray[np.uint8], explanation: Explanation) -> None:
    does = "weighs most for" if explanation.is_dense else "works on"
    sheet.text((MARGIN_PX, EXPERTS_PX), f"Which expert {does} each patch", 15)
    small = np.asarray(Image.fromarray(crop).resize((MAP_PX, MAP_PX), Image.Resampling.BICUBIC))
    for number, routing in enumerate(explanation.routings):
        row, column = divmod(number, len(COLUMNS_PX))
        _draw_routing(sheet, (COLUMNS_PX[column], EXPERTS_PX + 36 + row * ROW_PX), small, routing)


def _draw_routing(
    sheet: Sheet, place: tuple[int, int], small: NDArray[np.uint8], routing: Routing
) -> None:
    """A map of experts, and beside it a bar for each."""
    left, top = place
    colours = expert_colours(routing.experts, NO_EXPERT)  # (W, 3)
    sheet.picture(place, tinted(small, colours[cells(routing.chosen, MAP_PX)]))
    left, room = left + MAP_PX + 16, PANEL_PX - MAP_PX - 16
    sheet.text((left, top), routing.name, 14)
    step = min(34, (MAP_PX - 24) // len(routing.experts))
    for i, (expert, share) in enumerate(zip(routing.experts, routing.shares, strict=True)):
        y = top + 26 + i * step
        sheet.text((left, y), expert, 12, QUIET)
        sheet.text((left + room, y), f"{share:.0%}", 12, INK, "ra")
        bar = left, y + 17, left + room, y + 23
        sheet.fill(bar, LINE)
        sheet.fill((*bar[:2], left + round(share * room), bar[3]), tuple(colours[i].tolist()))


def _caption(sheet: Sheet, column: int, text: str) -> None:
    sheet.text((COLUMNS_PX[column], TOP_PX - 24), text, 15)


def _panel(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(S, S, 3) -> (PANEL_PX, PANEL_PX, 3)."""
    image = Image.fromarray(crop).resize((PANEL_PX, PANEL_PX), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _enlarged(whole: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) with the longer side as long as a panel."""
    image = Image.fromarray(whole)
    scale = PANEL_PX / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return np.asarray(image.resize((size[0], size[1]), Image.Resampling.BICUBIC))

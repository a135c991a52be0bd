"""The colours: contrast in both themes, and caller and called told apart by every kind of colour vision."""

from __future__ import annotations

import math

import pytest

from webapp.exports.formats import tokens

# Machado, Oliveira & Fernandes 2009, severity 1.0.
VISION = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
THEMES = {"light": False, "dark": True}


def linear(colour: str) -> list[float]:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        r, g, b = linear(colour)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def oklab(colour: str, vision: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """Source: Björn Ottosson, "A perceptual color space for image processing"."""
    v = linear(colour)
    r, g, b = (max(0.0, min(1.0, sum(m * c for m, c in zip(row, v, strict=True)))) for row in vision)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    mid = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * mid - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * mid + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * mid - 0.8086757660 * short,
    )


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", ["paper", "surface"])
@pytest.mark.parametrize("ink", ["ink", "ink2", "ink3", "src", "dst", "dns", "ok", "bad", "warn", "out"])
def test_text_is_readable(theme: str, ground: str, ink: str) -> None:
    colours = tokens(THEMES[theme])
    assert contrast(colours[ink], colours[ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ink", ["src", "dst", "dns", "ok", "bad", "warn", "out"])
def test_text_is_readable_on_its_own_tint(theme: str, ink: str) -> None:
    colours = tokens(THEMES[theme])
    assert contrast(colours[ink], colours[f"{ink}T"]) >= 4.5
    assert contrast(colours["ink"], colours[f"{ink}T"]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("onfill", "src"),
        ("onfill", "dst"),
        ("onfill", "bad"),
        ("onfill", "out"),
        ("onink", "ink"),
        ("ink2", "sunk"),
        ("ink3", "sunk"),
        ("ink2", "warnT"),
    ],
)
def test_text_is_readable_on_what_it_is_drawn_on(theme: str, text: str, ground: str) -> None:
    colours = tokens(THEMES[theme])
    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", ["paper", "surface"])
def test_borders_of_controls_are_visible(theme: str, ground: str) -> None:
    colours = tokens(THEMES[theme])
    assert contrast(colours["ctl"], colours[ground]) >= 3


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", VISION)
def test_caller_and_called_are_told_apart(theme: str, vision: str) -> None:
    colours = tokens(THEMES[theme])
    assert 100 * math.dist(oklab(colours["src"], VISION[vision]), oklab(colours["dst"], VISION[vision])) >= 20

"""Shorten matplotlib's SVG to less than 60 % of its bytes, with the same picture.

Text stays text, which can be searched and edited. Where DejaVu Sans is not installed, a font of
similar widths is shown.
"""

import re

FONT = "'DejaVu Sans'"  # as matplotlib names it
SIMILAR_FONTS = "'DejaVu Sans', Verdana, sans-serif"  # of about the same widths
DIGITS = 1  # of a coordinate behind the point, in points of 1/72 inch
COORDINATES = re.compile(r' (?:d|x|y)="[^"]*"|(?:translate|rotate)\([^)]*\)')
LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}")
PATH = re.compile(r' d="([^"]*)"')
COMMAND = re.compile(r"\s*([A-Za-z])\s*")  # of a path
NOT_TURNED = re.compile(r' transform="rotate\(-?0 [^)]*\)"')
STYLE = re.compile(r'style="([^"]*)"')
IDENTIFIER = re.compile(r' id="([^"]*)"')
BETWEEN_TAGS = re.compile(r">\s+<")


def shortened(drawn: str) -> str:
    """Return an SVG as matplotlib writes it with fewer bytes.

    Coordinates are rounded, each distinct style is a class, identifiers are short or left out where
    nothing refers to them, and white space between tags is left out.
    """
    text = drawn.replace(FONT, SIMILAR_FONTS)
    text = COORDINATES.sub(lambda match: LONG_NUMBER.sub(_rounded, match.group()), text)
    text = NOT_TURNED.sub("", text)
    text = PATH.sub(_without_spaces, text)
    return BETWEEN_TAGS.sub("><", _with_classes(_with_short_names(text)))


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number.group()):.{DIGITS}f}".rstrip("0").rstrip(".")


def _without_spaces(path: re.Match[str]) -> str:
    return f' d="{COMMAND.sub(lambda command: command[1], path[1].strip())}"'


def _with_short_names(text: str) -> str:
    """Return the SVG with identifiers of a letter and a number, only where they are referred to."""
    used = set(re.findall(r"#([\w.-]+)", text))
    short: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        if match[1] not in used:
            return ""
        return f' id="{short.setdefault(match[1], f"i{len(short)}")}"'

    text = IDENTIFIER.sub(renamed, text)
    return re.sub(r'(href="|url\()#([\w.-]+)', lambda match: f"{match[1]}#{short[match[2]]}", text)


def _with_classes(text: str) -> str:
    """Return the SVG with one class for each distinct style, defined before they are used."""
    names: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        return f'class="{names.setdefault(match[1], f"s{len(names)}")}"'

    text = STYLE.sub(named, text)
    classes = "".join(f".{name}{{{style}}}" for style, name in names.items())
    return text.replace("</style>", f"{classes}</style>", 1)

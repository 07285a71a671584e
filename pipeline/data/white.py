"""Compare the levels of images with the level that stands for white."""

ROUNDING = 1e-6  # a higher level, relative to white, is no rounding error
USED = 0.5  # share of the range below which it is noted


def range_note(highest: float, white: float) -> str | None:
    """Return a line if the images do not use their range, or exceed it.

    Args:
        highest: The highest level of all images.
        white: The level that becomes 1.
    """
    if highest > white * (1 + ROUNDING):
        return (
            f"levels up to {highest:g}, above {white:g}, become 1; expected source.white >= these"
        )
    if highest >= USED * white:
        return None
    if highest <= 0:
        return "every image is black"
    likely = 2 ** int(highest).bit_length() - 1 if highest > 1 else highest
    return (
        f"levels up to {highest:g} of {white:g} are used: images are dark, with few levels; "
        f"set source.white to the level of white, such as {likely:g}"
    )

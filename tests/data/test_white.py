"""The advice about the level of white."""

import pytest

from pipeline.data.white import range_note


@pytest.mark.parametrize(
    ("highest", "white", "likely"),
    [
        (255, 65535, "255 (8 bits)"),
        (200, 65535, "255 (8 bits)"),
        (300, 65535, "1023 (10 bits)"),
        (511, 65535, "511 (9 bits)"),
        (700, 65535, "1023 (10 bits)"),
        (1023, 65535, "1023 (10 bits)"),
        (1024, 65535, "4095 (12 bits)"),
        (1800.5, 65535, "4095 (12 bits)"),
        (9000, 65535, "16383 (14 bits)"),
        (20000, 65535, "32767 (15 bits)"),
        (1500, 4095, "2047 (11 bits)"),
        (100, 255, "127 (7 bits)"),
        (0.2, 1, "0.2"),
    ],
)
def test_the_level_advised_is_reached_or_that_of_a_usual_depth(highest, white, likely):
    assert range_note(highest, white).endswith(f"such as {likely}")


def test_images_that_use_half_of_their_range_get_no_note():
    assert range_note(130, 255) is None

"""Every regularizer with every strength on, for tests that ask the same of all."""

from pipeline import regularizers

NAMES = sorted(regularizers.settings())
MORE = {
    "augmentation": {
        "shift": 1,
        "flip": 0.5,
        "crop": 0.1,
        "rotate": 5,
        "brightness": 0.1,
        "cutout": 2,
    }
}


def strong(name):
    """A regularizer that acts, with what is off by default on."""
    return regularizers.settings()[name](**MORE.get(name, {}))

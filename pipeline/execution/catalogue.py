"""What settings files can name in this project: regularizers, models, datasets.

Separate because the layer that reads settings stands above all three and must not import them.
"""

from pipeline import data, models, regularizers
from pipeline.config.studies import Catalogue


def catalogue() -> Catalogue:
    """Everything found by looking into the folders."""
    return Catalogue(regularizers.settings(), models.settings(), data.names(), regularizers.test_rule)

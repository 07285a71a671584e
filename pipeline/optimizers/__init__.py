"""Find the optimizers, one file each; a file's name is the optimizer's name in YAML.

Files whose name begins with an underscore are shared.
"""

from pipeline.config.crawling import Folder
from pipeline.optimizers._optimizer import Optimizer

_FOLDER: Folder[Optimizer] = Folder(__name__, __path__, Optimizer)  # type: ignore[type-abstract]
names, settings, parse = _FOLDER.names, _FOLDER.settings, _FOLDER.parse

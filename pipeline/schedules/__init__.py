"""Find the learning-rate schedules, one file each; a file's name is the schedule's name in YAML.

Files whose name begins with an underscore are shared.
"""

from pipeline.config.crawling import Folder
from pipeline.schedules._schedule import Schedule

_FOLDER: Folder[Schedule] = Folder(__name__, __path__, Schedule)  # type: ignore[type-abstract]
names, settings, parse = _FOLDER.names, _FOLDER.settings, _FOLDER.parse

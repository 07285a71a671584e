"""Where regularizers may act in a protocol's network."""

import re
import sys

from pipeline.config.protocols import document_of, read_parameters, resolved
from pipeline.execution.catalogue import catalogue
from pipeline.terminal.sites import show_sites


def test_every_kind_of_site_is_named(project, capsys):
    document, source = document_of("tiny", read_parameters(), project)
    show_sites(resolved(document, catalogue(), source))
    shown = dict(re.findall(r"^ (\w.*?) {2,}(\d+)  ", capsys.readouterr().out, re.MULTILINE))
    assert shown == {
        "linear layers": "2",
        "of these with hidden inputs": "2",
        "convolutions above 1x1": "5",
        "max-pooling layers": "1",
        "residual blocks": "2",
    }


def test_the_command_shows_it(copied, command):
    shown = command(sys.executable, "-m", "pipeline", "doctor", "--model", at=copied)
    assert shown.returncode == 0, shown.stderr
    assert "tiny: resnet, " in shown.stdout

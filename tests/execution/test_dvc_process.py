"""Messages of DVC: those that tell a user nothing are left out, others are not."""

import logging

from dvc import dvcfile
from dvc_data.index import checkout

from pipeline.execution import dvc_process


def test_lines_that_tell_nothing_are_left_out(caplog):
    names = (dvcfile.logger.name, checkout.logger.name)
    assert set(names) <= dvc_process.OMITTED.keys()
    dvc_process.quiet()
    try:
        with caplog.at_level(logging.INFO):
            dvcfile.logger.info("Updating lock file '%s'", "dvc.lock")
            checkout.logger.warning("No file hash info found for '%s'. It won't be created.", "a")
            checkout.logger.warning("Failed to remove '%s'", "a")
        assert caplog.messages == ["Failed to remove 'a'"]
    finally:
        for name in dvc_process.OMITTED:
            logging.getLogger(name).filters.clear()

"""Stage 5: predict with every confirmation run: logits with a member axis, no test labels."""

import sys
from pathlib import Path

from pipeline.config.parameters import read_parameters
from pipeline.config.plan import read_plan
from pipeline.data.prepared import require_digest
from pipeline.execution.failures import format_failures, run_labels
from pipeline.execution.scheduler import finish
from pipeline.execution.stage import Incomplete, stage
from pipeline.records.predictions import seal_predictions
from pipeline.records.runs import checked_record
from pipeline.runtime.files import new_folder

PREDICTION = "pipeline.prediction.job:run_prediction"


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/predictions."""
    folder = Path("artifacts") / protocol
    plan = read_plan(folder / "confirmation")
    require_digest(folder / "data", plan.data_digest)
    viewed, execution = plan.grouped(), read_parameters().execution
    records = {name: checked_record(folder / "confirmation" / name) for name in plan.fingerprints()}
    with new_folder(folder / "predictions") as staging:
        jobs = [
            {
                "id": name,
                "viewed": name in viewed,
                "folder": str(folder.absolute()),
                "target": str(staging.absolute()),
                "accelerator": execution.accelerator,
            }
            for name, record in records.items()
            if record and record["state"] == "done"
        ]
        title = f"predictions of {protocol}"
        failed = finish(jobs, PREDICTION, execution, title, [folder.absolute()])
        if failed:
            raise Incomplete(format_failures(failed, len(jobs), run_labels(plan)))
        seal_predictions(staging)


if __name__ == "__main__":
    sys.exit(stage(main))

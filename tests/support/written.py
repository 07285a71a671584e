"""A small written report of older code, as texts by the path of their file."""

import json

SEEDS = """study,arm,seed,paired,test_accuracy,reference_test_accuracy
one,dropout,1000,True,0.93,0.91
one,dropout,1001,True,0.95,0.92
one,dropout,1002,False,,0.92
one,mixup,1000,True,0.9,0.91
one,mixup,1001,True,0.92,0.92
"""
CONTRASTS = """study,arm,strength,n,difference,low,high,verdict,below_margin
one,dropout,rate=0.1,2,0.025,0.01,0.04,helps,False
one,mixup,,2,-0.005,-0.02,0.01,inconclusive,False
"""
FRONT = """# Which regularizers help: tiny

With 2 fresh seeds, **dropout** (+2.5 points [+1.0, +4.0]) helps. **mixup** is inconclusive.

| arm: setting | verdict | difference [95 % interval] |
| --- | --- | ---: |
| dropout: rate=0.1 | helps | +2.5 [+1.0, +4.0] |
| mixup | inconclusive | -0.5 [-2.0, +1.0] |
"""
METRICS = {
    "baseline": {"accuracy": 91.5, "gap": 3.0},
    "runs": {"done": 5, "planned": 6},
    "points": {"dropout": 2.5, "mixup": -0.5},
}
FILES = {
    "seeds.csv": SEEDS,
    "plots/contrasts.csv": CONTRASTS,
    "report.md": FRONT,
    "metrics.json": json.dumps(METRICS),
}

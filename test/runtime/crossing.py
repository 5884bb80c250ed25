"""The rule of rule.go in backtesting.py (https://kernc.github.io/backtesting.py/),
on the same bars, in the same whole ticks: long while the fast average of the closes
is above the slow one. Orders are filled at the next bar, as ours are."""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import backtesting  # noqa: E402
import pandas  # noqa: E402

bars = pandas.read_csv(sys.argv[1])
bars.index = pandas.to_datetime(bars.pop("End"), unit="s")
fast, slow = int(sys.argv[2]), int(sys.argv[3])


def total(values, length):
    return pandas.Series(values).rolling(length).sum()


class Crossing(backtesting.Strategy):
    def init(self):
        self.fast = self.I(total, self.data.Close, fast)
        self.slow = self.I(total, self.data.Close, slow)

    def next(self):
        lead = self.fast[-1] * (slow // fast) - self.slow[-1]
        if lead > 0 and not self.position:
            self.buy(size=0.1)
        elif lead < 0 and self.position:
            self.position.close()


backtest = backtesting.Backtest(bars, Crossing, cash=1_000_000_000, commission=0.0006)
backtest.run()
runs, began = 0, time.process_time()
while time.process_time() - began < 3:
    result = backtest.run()
    runs += 1
seconds = (time.process_time() - began) / runs
json.dump(
    {"name": "backtesting.py " + backtesting.__version__, "bars": len(bars), "trades": len(result._trades), "seconds": seconds},
    sys.stdout,
)

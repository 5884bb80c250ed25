package main

import (
	"context"
	"errors"
	"time"

	"github.com/three-rivers-tech/trading-operator/test/crash/judge"
	"github.com/three-rivers-tech/trading-operator/test/crash/rig"
)

// settling is how long ledger and exchange may take to agree once nothing new
// happens: an order whose outcome is open is asked for until its absence is proven.
const settling = rig.Patience

// settled is what the two agree on in the end, or still do not.
func settled(whole context.Context, world *rig.World) (judge.Verdict, error) {
	ctx, cancel := context.WithTimeout(whole, settling)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last judge.Verdict
	judged := false
	for {
		verdict, err := world.Judge(ctx)
		if err == nil {
			last, judged = verdict, true
		}
		if err == nil && verdict.Clean() {
			return verdict, nil
		}
		select {
		case <-ctx.Done():
			if judged && whole.Err() == nil {
				// Whatever is left now is left for good.
				return last, nil
			}
			return judge.Verdict{}, errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}

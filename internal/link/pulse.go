package link

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

const (
	// pulsesPerLoss is how many answers must be missing before the API server
	// counts as lost.
	pulsesPerLoss = 4
	// fastestPulse and slowestPulse bound how often the API server is asked.
	fastestPulse = time.Second
	slowestPulse = 15 * time.Second
	pulseJitter  = 0.2
)

// pulse asks the API server for the halts in steady intervals, past the watch: a
// watch that has died tells nobody, and one that was refused tells only its log.
type pulse struct {
	namespace string
	reader    client.Reader
	// heard is when the API server answered last, in nanoseconds of the Unix time.
	heard  atomic.Int64
	halts  atomic.Pointer[[]v1alpha1.Halt]
	stale  atomic.Int64
	signal func()
}

func newPulse(config *rest.Config, scheme *runtime.Scheme, namespace string, signal func()) (*pulse, error) {
	reader, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask for halts: %w", err)
	}
	p := &pulse{namespace: namespace, reader: reader, signal: signal}
	p.heard.Store(time.Now().UnixNano())
	p.stale.Store(int64(time.Duration(v1alpha1.DefaultStaleAfterSeconds) * time.Second))
	return p, nil
}

// run asks until the context ends.
func (p *pulse) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		pace := p.pace()
		p.ask(ctx, pace)
		timer.Reset(wait.Jitter(pace, pulseJitter))
	}
}

func (p *pulse) pace() time.Duration {
	return min(max(time.Duration(p.stale.Load())/pulsesPerLoss, fastestPulse), slowestPulse)
}

// ask reads both lists as they are now: an API server that has lost its store still
// has them in its cache, but nobody can create a halt there. Either failing is
// silence: a halt of that kind would not be seen.
func (p *pulse) ask(ctx context.Context, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var own v1alpha1.TradingHaltList
	var cluster v1alpha1.ClusterTradingHaltList
	if err := p.reader.List(ctx, &own, client.InNamespace(p.namespace)); err != nil {
		return
	}
	if err := p.reader.List(ctx, &cluster); err != nil {
		return
	}
	halts := v1alpha1.Halts(own.Items, cluster.Items)
	news := p.halts.Swap(&halts) == nil || len(halts) > 0
	p.heard.Store(time.Now().UnixNano())
	if news {
		p.signal()
	}
}

// known are the halts of the last answer.
func (p *pulse) known() []v1alpha1.Halt {
	if halts := p.halts.Load(); halts != nil {
		return *halts
	}
	return nil
}

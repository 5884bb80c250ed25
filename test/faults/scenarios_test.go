//go:build faults

package faults

import (
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// scenario is something that happens to a desk.
type scenario struct {
	name string
	// before brings the desk to where the scenario begins. Its writes are not
	// broken.
	before func(*desk)
	// act is what happens. It waits for what a user would wait for, however long
	// the operator is away.
	act func(*desk)
	// pods is how many pods of each agent are ever created and deleted, beyond
	// doubt and not only as in the undisturbed run.
	pods map[string]tallyOf
	// options of the operator that the scenario begins with.
	options operatorOptions
	// upgrade is the release that takes the operator's place between before and act;
	// its writes are those that are broken.
	upgrade release
	// sampled scenarios have so many writes that only some are broken, unless
	// FAULTS=long.
	sampled bool
}

// trading furnishes the desk and brings its agent to Ready.
func trading(d *desk) {
	d.create(d.furniture()...)
	d.create(d.eur())
	d.awaitTrading("eur")
}

// editing edits the agent that trades, and waits until the edit is in force.
func editing(change func(*v1alpha1.TradingAgent)) func(*desk) {
	return func(d *desk) {
		edit(d, d.eur(), change)
		d.awaitSeen("eur")
	}
}

// restarting edits the agent in a way that needs another process.
func restarting(change func(*v1alpha1.TradingAgent)) func(*desk) {
	return func(d *desk) {
		old := d.pod().UID
		edit(d, d.eur(), change)
		d.awaitPod(old)
		d.awaitTrading("eur")
	}
}

// late creates everything but one thing, and that when the agent waits for it.
func late(missing func(*desk) client.Object, reason string) func(*desk) {
	return func(d *desk) {
		absent := missing(d)
		for _, object := range d.furniture() {
			if fmt.Sprintf("%T", object) != fmt.Sprintf("%T", absent) || object.GetName() != absent.GetName() {
				d.create(object)
			}
		}
		d.create(d.eur())
		d.awaitReason("eur", reason)
		d.create(absent)
		d.awaitTrading("eur")
	}
}

// manyAgents is how many agents one policy binds in the scenario about it.
const manyAgents = 20

func many(d *desk) {
	d.create(d.furniture()...)
	for i := range manyAgents {
		base := v1alpha1.Currency(fmt.Sprintf("B%02d", i))
		d.create(d.pair(fmt.Sprintf("b%02d-usd", i), base), d.agent(fmt.Sprintf("a%02d", i), string(base)+"-USD"))
	}
	for i := range manyAgents {
		d.awaitTrading(fmt.Sprintf("a%02d", i))
	}
}

var (
	keepsPod    = map[string]tallyOf{"eur": {1, 0}}
	replacesPod = map[string]tallyOf{"eur": {2, 1}}
	losesPod    = map[string]tallyOf{"eur": {1, 1}}
)

// scenarios are what happens to desks.
func scenarios() []scenario {
	all := append(editScenarios(), lateScenarios()...)
	all = append(all, deleteScenarios()...)
	all = append(all, revisionScenarios()...)
	all = append(all, nodeScenarios()...)
	all = append(all, haltScenarios()...)
	return append(all, scenario{
		name: "create", act: trading, pods: keepsPod,
	}, scenario{
		name: "policy change with many agents", before: many, sampled: true,
		act: func(d *desk) {
			edit(d, d.policy("careful"), func(p *v1alpha1.RiskPolicy) {
				p.Spec.Order.MaxNotional, p.Spec.Trading = "900", v1alpha1.TradingReduceOnly
			})
			for i := range manyAgents {
				d.awaitReason(fmt.Sprintf("a%02d", i), v1alpha1.ReasonReduceOnly)
			}
		},
	}, scenario{
		name: "account swap refused", before: trading, pods: keepsPod,
		act: func(d *desk) {
			swap := func(a *v1alpha1.TradingAgent) { a.Spec.AccountRef.Name = "other" }
			if err := tryEdit(d, d.eur(), swap); !apierrors.IsInvalid(err) {
				d.t.Errorf("the account of a running agent could be changed: %v", err)
			}
			edit(d, d.eur(), func(a *v1alpha1.TradingAgent) { a.Spec.Trading = v1alpha1.TradingReduceOnly })
			d.awaitReason("eur", v1alpha1.ReasonReduceOnly)
		},
	}, scenario{
		name: "leader change", pods: keepsPod, options: operatorOptions{release: newest, elect: true},
		before: func(d *desk) { d.awaitLeader(); d.startStandby() },
		act:    trading,
	})
}

func editScenarios() []scenario {
	return []scenario{{
		name: "edit decision", before: trading, pods: replacesPod,
		act: restarting(func(a *v1alpha1.TradingAgent) { a.Spec.Decision = &v1alpha1.DecisionSpec{IntervalSeconds: 600} }),
	}, {
		name: "edit sizing", before: trading, pods: replacesPod,
		act: restarting(func(a *v1alpha1.TradingAgent) { a.Spec.Sizing = &v1alpha1.SizingSpec{RiskFraction: "0.02"} }),
	}, {
		name: "edit marketData", before: trading, pods: replacesPod,
		act: restarting(func(a *v1alpha1.TradingAgent) { a.Spec.MarketData.Replay.Speed = 60 }),
	}, {
		name: "edit assetPairs", before: trading, pods: replacesPod,
		act: restarting(func(a *v1alpha1.TradingAgent) {
			a.Spec.AssetPairs = append(a.Spec.AssetPairs, v1alpha1.AssetPairSelector{Name: "GBP-USD"})
		}),
	}, {
		name: "edit limits", before: trading, pods: keepsPod,
		act: editing(func(a *v1alpha1.TradingAgent) {
			a.Spec.Limits = &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{MaxNotional: "500"}}
		}),
	}, {
		name: "edit trading", before: trading, pods: keepsPod,
		act: editing(func(a *v1alpha1.TradingAgent) { a.Spec.Trading = v1alpha1.TradingHalted }),
	}, {
		name: "edit riskPolicyRef", before: trading, pods: keepsPod,
		act: editing(func(a *v1alpha1.TradingAgent) { a.Spec.RiskPolicyRef.Name = "bold" }),
	}, {
		name: "edit endpoint", before: trading, pods: keepsPod,
		act: func(d *desk) {
			bare := d.records.all()
			for _, class := range []string{"traefik", "haproxy"} {
				editing(func(a *v1alpha1.TradingAgent) { a.Spec.Endpoint = d.endpoint(class) })(d)
			}
			editing(func(a *v1alpha1.TradingAgent) { a.Spec.Endpoint = nil })(d)
			// An operator that has not yet seen the Service finds nothing to delete until
			// it does; asked for an endpoint again before that, it rightly keeps it.
			d.awaitOnly(bare)
			editing(func(a *v1alpha1.TradingAgent) { a.Spec.Endpoint = d.endpoint("traefik") })(d)
		},
	}, {
		name: "edit deletionPolicy", before: trading, pods: keepsPod,
		act: editing(func(a *v1alpha1.TradingAgent) { a.Spec.DeletionPolicy = v1alpha1.DeletionKeep }),
	}}
}

func lateScenarios() []scenario {
	return []scenario{{
		name: "account appears late", pods: keepsPod,
		act: late(func(d *desk) client.Object { return d.account() }, v1alpha1.ReasonAccountNotFound),
	}, {
		name: "policy appears late", pods: keepsPod,
		act: late(func(d *desk) client.Object { return d.policy("careful") }, v1alpha1.ReasonRiskPolicyNotFound),
	}, {
		name: "pair appears late", pods: keepsPod,
		act: late(func(d *desk) client.Object { return d.pair("eur-usd", "EUR") }, v1alpha1.ReasonAssetPairNotFound),
	}, {
		name: "ledger appears late", pods: keepsPod,
		act: late(func(d *desk) client.Object { return d.ledger() }, v1alpha1.ReasonLedgerNotFound),
	}, {
		name: "secret appears late", pods: keepsPod,
		act: late(func(d *desk) client.Object { return d.secret() }, v1alpha1.ReasonLedgerSecretNotFound),
	}}
}

func deleteScenarios() []scenario {
	keeping := func(d *desk) {
		d.create(d.furniture()...)
		agent := d.eur()
		agent.Spec.DeletionPolicy = v1alpha1.DeletionKeep
		d.world.set(func(w *world) { w.holding = true })
		d.create(agent)
		d.awaitTrading("eur")
	}
	gone := func(d *desk) {
		d.remove(d.eur())
		d.awaitGone("TradingAgent", "eur")
		d.awaitGone("Pod", d.podName("eur"))
	}
	return []scenario{{
		name: "delete with Flatten", before: trading, act: gone, pods: losesPod,
	}, {
		name: "delete with Keep", before: keeping, act: gone, pods: losesPod,
	}, {
		name: "delete by the abandon annotation", pods: losesPod,
		before: func(d *desk) {
			d.world.set(func(w *world) { w.holding = true })
			trading(d)
		},
		act: func(d *desk) {
			d.remove(d.eur())
			d.awaitReason("eur", v1alpha1.ReasonTerminating)
			edit(d, d.eur(), func(a *v1alpha1.TradingAgent) {
				a.Annotations = map[string]string{v1alpha1.AbandonAnnotation: "true"}
			})
			d.awaitGone("TradingAgent", "eur")
			d.awaitGone("Pod", d.podName("eur"))
		},
	}, {
		name: "delete and create again", before: trading, pods: replacesPod,
		act: func(d *desk) {
			gone(d)
			d.create(d.eur())
			d.awaitTrading("eur")
		},
	}}
}

func (d *desk) podName(agent string) string { return agent + "-trader" }

// skip has time pass, and the operator look at the agent.
func (d *desk) skip(agent string, ahead time.Duration) {
	d.t.Helper()
	d.world.clock.skip(ahead)
	d.touch(agent)
}

//go:build faults

package faults

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
	"github.com/three-rivers-tech/trading-operator/controllers/tradingagent"
)

func (d *desk) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: d.namespace, Name: name}
}

func (d *desk) secret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: d.meta("ledger"), Data: map[string][]byte{"uri": []byte("postgres://agent@db/trading")}}
}

func (d *desk) ledger() *v1alpha1.Ledger {
	return &v1alpha1.Ledger{ObjectMeta: d.meta("main"), Spec: v1alpha1.LedgerSpec{URISecretRef: v1alpha1.SecretKeyReference{Name: "ledger", Key: "uri"}}}
}

func (d *desk) account() *v1alpha1.TradingAccount {
	return &v1alpha1.TradingAccount{ObjectMeta: d.meta("paper"), Spec: v1alpha1.TradingAccountSpec{
		Venue: v1alpha1.VenuePaper, LedgerRef: v1alpha1.ObjectReference{Name: "main"},
		Paper: &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "10000"},
	}}
}

func (d *desk) policy(name string) *v1alpha1.RiskPolicy {
	return &v1alpha1.RiskPolicy{ObjectMeta: d.meta(name), Spec: v1alpha1.RiskPolicySpec{
		Currency: "USD",
		Order:    v1alpha1.OrderLimits{MaxNotional: "1000"},
		Agent:    v1alpha1.AgentLimits{MaxTradesPerDay: new(int32(5))},
	}}
}

func (d *desk) pair(name string, base v1alpha1.Currency) *v1alpha1.AssetPair {
	return &v1alpha1.AssetPair{ObjectMeta: d.meta(name), Spec: v1alpha1.AssetPairSpec{
		Base: base, Quote: "USD", TickSize: "0.00001", LotSize: "1",
	}}
}

func (d *desk) agent(name string, pairs ...string) *v1alpha1.TradingAgent {
	agent := &v1alpha1.TradingAgent{ObjectMeta: d.meta(name), Spec: v1alpha1.TradingAgentSpec{
		Mode: v1alpha1.ModePaper, Trading: v1alpha1.TradingEnabled,
		AccountRef:    v1alpha1.ObjectReference{Name: "paper"},
		RiskPolicyRef: v1alpha1.ObjectReference{Name: "careful"},
		MarketData: v1alpha1.MarketDataSpec{
			Source: v1alpha1.DataSourceReplay, Replay: &v1alpha1.ReplaySpec{Dataset: "prices/{pair}.csv"},
		},
		DeletionPolicy: v1alpha1.DeletionFlatten,
	}}
	for _, pair := range pairs {
		agent.Spec.AssetPairs = append(agent.Spec.AssetPairs, v1alpha1.AssetPairSelector{Name: pair})
	}
	return agent
}

// endpoint is an address that an ingress controller of a class serves.
func (d *desk) endpoint(class string) *v1alpha1.EndpointSpec {
	return &v1alpha1.EndpointSpec{Host: d.namespace + ".example.com", IngressClassName: class}
}

// eur is the agent that most scenarios are about.
func (d *desk) eur() *v1alpha1.TradingAgent { return d.agent("eur", "EUR/USD") }

// furniture is everything that the agents of a scenario refer to.
func (d *desk) furniture() []client.Object {
	return []client.Object{
		d.secret(), d.ledger(), d.account(), d.policy("careful"), d.policy("bold"),
		d.pair("eur-usd", "EUR"), d.pair("gbp-usd", "GBP"),
	}
}

// read takes an object from the records into a typed one; false if there is none.
func read[T client.Object](d *desk, kind, name string, into T) (T, bool) {
	object := d.records.all()[key{kind, name}]
	if object == nil {
		return into, false
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into); err != nil {
		d.t.Error(err)
		return into, false
	}
	return into, true
}

func (d *desk) readAgent(name string) (*v1alpha1.TradingAgent, bool) {
	return read(d, "TradingAgent", name, &v1alpha1.TradingAgent{})
}

// awaitReason waits until an agent's Ready condition has a reason for its newest
// spec, of which its process has taken note where there is one.
func (d *desk) awaitReason(name, reason string) {
	d.t.Helper()
	d.until(name+" is "+reason, func() error {
		agent, ok := d.readAgent(name)
		if !ok {
			return errors.New("there is no such agent")
		}
		ready := reconcile.StatusOf(agent).Get(v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != reason || ready.ObservedGeneration != agent.Generation {
			return fmt.Errorf("generation %d, Ready is %+v", agent.Generation, ready)
		}
		return nil
	})
}

// awaitTrading waits until an agent is Ready and trades by its newest spec.
func (d *desk) awaitTrading(name string) {
	d.t.Helper()
	d.awaitReason(name, v1alpha1.ReasonTrading)
}

// awaitSeen waits until the operator and the agent's process have taken note of
// the newest spec, whatever they think of it.
func (d *desk) awaitSeen(name string) {
	d.t.Helper()
	d.until(name+" has seen its spec", func() error {
		agent, ok := d.readAgent(name)
		switch {
		case !ok:
			return errors.New("there is no such agent")
		case agent.Status.ObservedGeneration != agent.Generation:
			return errors.New("the operator has not")
		case agent.Status.Trading != nil && agent.Status.Trading.ObservedGeneration != agent.Generation:
			return errors.New("the process has not")
		}
		return nil
	})
}

func (d *desk) awaitGone(kind, name string) {
	d.t.Helper()
	d.until(name+" is gone", func() error {
		if d.records.all()[key{kind, name}] != nil {
			return errors.New("it is there")
		}
		return nil
	})
}

// awaitOnly waits until there are no other objects than those of an earlier time.
func (d *desk) awaitOnly(earlier map[key]*unstructured.Unstructured) {
	d.t.Helper()
	d.until("what is new is gone", func() error {
		for object := range d.records.all() {
			if earlier[object] == nil {
				return fmt.Errorf("%v is there", object)
			}
		}
		return nil
	})
}

// pod returns the pod of the agent eur, which must exist.
func (d *desk) pod() *corev1.Pod {
	d.t.Helper()
	pod, ok := read(d, "Pod", tradingagent.ChildName(d.eur()), &corev1.Pod{})
	if !ok {
		d.t.Fatal("the agent eur has no pod")
	}
	return pod
}

// awaitPod waits until the agent eur has another pod than the given one.
func (d *desk) awaitPod(other types.UID) {
	d.t.Helper()
	d.until("another pod of eur", func() error {
		pod, ok := read(d, "Pod", tradingagent.ChildName(d.eur()), &corev1.Pod{})
		if !ok || pod.UID == other {
			return errors.New("it is the old one, or none")
		}
		return nil
	})
}

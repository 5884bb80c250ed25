package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// desk is the namespace of the samples, where the agents in pods live.
const desk = "desk"

// pods are the agents of the desk, which the operator runs in pods of a real
// kubelet, with their ledger.
type pods struct {
	admin  client.Client
	ledger *pgx.Conn
	names  []string
}

// startPods brings the desk of the samples to as many agents, and waits until all
// of them trade.
func startPods(ctx context.Context, admin client.Client, wanted int) (*pods, error) {
	var agents v1alpha1.TradingAgentList
	if err := admin.List(ctx, &agents, client.InNamespace(desk)); err != nil {
		return nil, err
	}
	for i := range wanted - len(agents.Items) {
		for _, object := range []client.Object{podAccount(i), podAgent(i)} {
			if err := admin.Create(ctx, object); err != nil {
				return nil, err
			}
		}
	}
	p := &pods{admin: admin}
	err := wait.PollUntilContextTimeout(ctx, time.Second, patience, true, func(ctx context.Context) (bool, error) {
		p.names = p.names[:0]
		if err := admin.List(ctx, &agents, client.InNamespace(desk)); err != nil {
			return false, err
		}
		for _, agent := range agents.Items {
			if meta.IsStatusConditionTrue(agent.Status.Conditions, v1alpha1.ConditionReady) && trades(&agent) {
				p.names = append(p.names, agent.Name)
			}
		}
		return len(p.names) == len(agents.Items), nil
	})
	if err != nil {
		return nil, fmt.Errorf("%d of %d agents in pods trade: %w", len(p.names), len(agents.Items), err)
	}
	if p.ledger, err = connect(ctx, admin); err != nil {
		return nil, fmt.Errorf("connect to the desk's ledger: %w", err)
	}
	return p, nil
}

func trades(agent *v1alpha1.TradingAgent) bool {
	return agent.Status.Trading != nil && agent.Status.Trading.State == v1alpha1.TradingEnabled
}

func podAccount(index int) *v1alpha1.TradingAccount {
	return &v1alpha1.TradingAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: desk, Name: agentName(index)},
		Spec: v1alpha1.TradingAccountSpec{
			Venue: v1alpha1.VenuePaper, LedgerRef: v1alpha1.ObjectReference{Name: "main"},
			Paper: &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "10000"},
		},
	}
}

// podAgent decides four times a second, on little evidence and with little money.
func podAgent(index int) *v1alpha1.TradingAgent {
	agent := manifest(index)
	agent.Namespace = desk
	agent.Spec.AccountRef.Name = agent.Name
	agent.Spec.AssetPairs[0].Name = "eur-usd"
	agent.Spec.MarketData.Replay.Speed = int32(time.Hour / pace)
	agent.Spec.Decision = &v1alpha1.DecisionSpec{MinConfidenceFraction: "0.40", Direction: v1alpha1.DirectionLongShort}
	agent.Spec.Sizing = &v1alpha1.SizingSpec{RiskFraction: "0.0005"}
	return agent
}

// connect opens the desk's PostgreSQL with the agents' own Secret. The service's
// name means nothing outside the cluster; the address of its pod does.
func connect(ctx context.Context, admin client.Client) (*pgx.Conn, error) {
	var secret corev1.Secret
	if err := admin.Get(ctx, client.ObjectKey{Namespace: desk, Name: "ledger"}, &secret); err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(string(secret.Data["uri"]))
	if err != nil {
		return nil, errors.New("the Secret \"ledger\" holds no connection URI of PostgreSQL")
	}
	var service corev1.Service
	if err := admin.Get(ctx, client.ObjectKey{Namespace: desk, Name: "postgres"}, &service); err != nil {
		return nil, err
	}
	var backends corev1.PodList
	if err := admin.List(ctx, &backends, client.InNamespace(desk), client.MatchingLabels(service.Spec.Selector)); err != nil {
		return nil, err
	}
	if len(backends.Items) == 0 || backends.Items[0].Status.PodIP == "" {
		return nil, errors.New("PostgreSQL has no pod with an address")
	}
	config.Host = backends.Items[0].Status.PodIP
	return pgx.ConnectConfig(ctx, config)
}

// placements are the pods' last orders, by what their ledger tells: an order
// leaves only after it has been recorded there.
func (p *pods) placements(ctx context.Context) (placed, error) {
	var all placed
	for _, name := range p.names {
		var last time.Time
		var count int64
		err := p.ledger.QueryRow(ctx, `SELECT coalesce(max(i.recorded_at), 'epoch'), count(*) FROM trading.intents i
			JOIN trading.agents a ON a.uid = i.agent_uid WHERE a.namespace = $1 AND a.name = $2`, desk, name).Scan(&last, &count)
		if err != nil {
			return all, err
		}
		all.Last, all.Count = append(all.Last, last.UnixNano()), append(all.Count, count)
	}
	return all, nil
}

// halted is how many agents in pods do not trade.
func (p *pods) halted(ctx context.Context) (int, error) {
	var agents v1alpha1.TradingAgentList
	if err := p.admin.List(ctx, &agents, client.InNamespace(desk)); err != nil {
		return 0, err
	}
	count := 0
	for _, agent := range agents.Items {
		if agent.Status.Trading == nil || agent.Status.Trading.State == v1alpha1.TradingHalted {
			count++
		}
	}
	return count, nil
}

// scaleOperator gives the operator as many replicas and waits until they are.
func scaleOperator(ctx context.Context, admin client.Client, replicas int32) error {
	operator := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "trading-system", Name: "trading-operator"}}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	if err := admin.Patch(ctx, operator, patch); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, time.Second, patience, true, func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(operator), operator)
		return operator.Status.Replicas == replicas && operator.Status.ReadyReplicas == replicas, err
	})
}

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/shopspring/decimal"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// The desk lives through this in order: every fault meets a desk that trades.
var _ = Describe("the sample desk", Ordered, func() {
	It("is Ready, every object of it", func(ctx SpecContext) {
		Eventually(unready).WithContext(ctx).Should(BeEmpty())
	})

	It("books trades", func(ctx SpecContext) {
		for _, agent := range agents(ctx) {
			Eventually(fills).WithContext(ctx).WithArguments(string(agent.UID)).Should(BeNumerically(">", 0), agent.Name)
		}
		expectConsistent(ctx)
	})

	It("shows the equity that the ledger's own postings sum to", func(ctx SpecContext) {
		for _, agent := range agents(ctx) {
			Eventually(equityDifference).WithContext(ctx).WithArguments(agent.Name).Should(Equal("0"), agent.Name)
		}
	})

	It("refuses a wrong manifest with the field and what would be right", func(ctx SpecContext) {
		agent := agents(ctx)[0]
		wrong := agent.DeepCopy()
		wrong.ObjectMeta = metav1.ObjectMeta{Name: "wrong", Namespace: namespace}
		wrong.Spec.Mode = v1alpha1.ModeLive
		wrong.Spec.MarketData = v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceCoinbase}
		wrong.Spec.ControlPlane = &v1alpha1.ControlPlaneSpec{OnLoss: v1alpha1.LossHalt}
		err := cluster.Create(ctx, wrong, client.DryRunAll)
		Expect(err).To(MatchError(And(ContainSubstring("spec.mode"), ContainSubstring("paper account"))))
	})

	DescribeTable("trades on after a part of it was killed",
		func(ctx SpecContext, kill func(context.Context)) {
			before := decisions(ctx)
			kill(ctx)
			for uid, count := range before {
				Eventually(decisionCount).WithContext(ctx).WithArguments(uid).Should(BeNumerically(">", count+2), "no decisions after the fault")
			}
			Eventually(unready).WithContext(ctx).Should(BeEmpty())
			expectConsistent(ctx)
		},
		Entry("the agents' processes", func(ctx context.Context) { killProcess(ctx, "trading-agent") }),
		Entry("the kubelet", func(ctx context.Context) { killProcess(ctx, "kubelet") }),
		Entry("PostgreSQL", func(ctx context.Context) { killProcess(ctx, "postgres") }),
		Entry("the operator", func(ctx context.Context) { killProcess(ctx, "manager") }),
		Entry("an agent's pod", func(ctx context.Context) {
			agent := agents(ctx)[0]
			Expect(cluster.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: agent.Status.PodName, Namespace: namespace}})).To(Succeed())
		}),
	)

	It("sends no order a second after a halt, not even after a restart, and goes on when it ends", func(ctx SpecContext) {
		agent := agents(ctx)[0]
		uid := string(agent.UID)
		setTrading(ctx, agent.Name, v1alpha1.TradingHalted)
		halted, err := query[time.Time](ctx, "SELECT clock_timestamp()")
		Expect(err).NotTo(HaveOccurred())
		Eventually(tradingState).WithContext(ctx).WithArguments(agent.Name).WithTimeout(10 * time.Second).Should(Equal(v1alpha1.TradingHalted))

		killProcess(ctx, "trading-agent")
		seen, err := barCount(ctx, uid)
		Expect(err).NotTo(HaveOccurred())
		Eventually(barCount).WithContext(ctx).WithArguments(uid).Should(BeNumerically(">", seen+10), "prices are not followed under a halt")
		Expect(tradingState(ctx, agent.Name)).To(Equal(v1alpha1.TradingHalted))
		sent, err := query[int64](ctx, "SELECT count(*) FROM trading.intents WHERE agent_uid = $1 AND recorded_at > $2::timestamptz + interval '1 second'", uid, halted)
		Expect(err).NotTo(HaveOccurred())
		Expect(sent).To(BeZero(), "orders were made under a halt")
		Expect(query[int64](ctx, "SELECT count(*) FROM paper.orders WHERE agent_uid = $1 AND state = 'Acked'", uid)).To(BeZero(), "orders are open under a halt")

		setTrading(ctx, agent.Name, v1alpha1.TradingEnabled)
		Eventually(tradingState).WithContext(ctx).WithArguments(agent.Name).WithTimeout(10 * time.Second).Should(Equal(v1alpha1.TradingEnabled))
	})

	describeHalts()

	describePods()

	It("leaves nothing behind when it is deleted", func(ctx SpecContext) {
		deleted := agents(ctx)
		for _, agent := range deleted {
			Expect(cluster.Delete(ctx, &agent)).To(Succeed())
		}
		for _, agent := range deleted {
			Eventually(exists).WithContext(ctx).WithArguments(&v1alpha1.TradingAgent{}, agent.Name).Should(BeFalse())
		}
		Eventually(childrenLeft).WithContext(ctx).Should(BeEmpty())
		for _, agent := range deleted {
			held, err := query[int64](ctx, "SELECT count(*) FROM trading.positions WHERE agent_uid = $1 AND quantity <> 0", string(agent.UID))
			Expect(err).NotTo(HaveOccurred())
			if agent.Spec.DeletionPolicy == v1alpha1.DeletionFlatten {
				Expect(held).To(BeZero(), agent.Name+" was deleted with deletionPolicy Flatten and still holds something")
			}
			// What is kept stays claimed, so that the next agent takes it over visibly.
			Expect(query[int64](ctx, "SELECT count(*) FROM trading.claims WHERE agent_uid = $1", string(agent.UID))).To(Equal(held), agent.Name+" is gone and claims more than it kept")
			Expect(query[int64](ctx, "SELECT count(*) FROM paper.orders WHERE agent_uid = $1 AND state = 'Acked'", string(agent.UID))).To(BeZero(), agent.Name+" is gone and has open orders")
		}
		expectConsistent(ctx)
	})
})

func agents(ctx context.Context) []v1alpha1.TradingAgent {
	GinkgoHelper()
	var list v1alpha1.TradingAgentList
	Expect(cluster.List(ctx, &list, client.InNamespace(namespace))).To(Succeed())
	Expect(list.Items).NotTo(BeEmpty(), "apply config/samples")
	return list.Items
}

// unready names every object of the desk that is not Ready, and why.
func unready(ctx context.Context) ([]string, error) {
	var (
		agentList   v1alpha1.TradingAgentList
		accountList v1alpha1.TradingAccountList
		policyList  v1alpha1.RiskPolicyList
		pairList    v1alpha1.AssetPairList
		ledgerList  v1alpha1.LedgerList
		problems    []string
	)
	for _, list := range []client.ObjectList{&agentList, &accountList, &policyList, &pairList, &ledgerList} {
		if err := cluster.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
	}
	check := func(kind, name string, generation, observed int64, conditions []metav1.Condition) {
		ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
		switch {
		case ready == nil || observed != generation:
			problems = append(problems, fmt.Sprintf("%s/%s: not observed yet", kind, name))
		case ready.Status != metav1.ConditionTrue:
			problems = append(problems, fmt.Sprintf("%s/%s: %s: %s", kind, name, ready.Reason, ready.Message))
		}
	}
	for _, o := range agentList.Items {
		check("tradingagent", o.Name, o.Generation, o.Status.ObservedGeneration, o.Status.Conditions)
	}
	for _, o := range accountList.Items {
		check("tradingaccount", o.Name, o.Generation, o.Status.ObservedGeneration, o.Status.Conditions)
	}
	for _, o := range policyList.Items {
		check("riskpolicy", o.Name, o.Generation, o.Status.ObservedGeneration, o.Status.Conditions)
	}
	for _, o := range pairList.Items {
		check("assetpair", o.Name, o.Generation, o.Status.ObservedGeneration, o.Status.Conditions)
	}
	for _, o := range ledgerList.Items {
		check("ledger", o.Name, o.Generation, o.Status.ObservedGeneration, o.Status.Conditions)
	}
	return problems, nil
}

func fills(ctx context.Context, uid string) (int64, error) {
	return query[int64](ctx, "SELECT count(*) FROM trading.fills WHERE agent_uid = $1", uid)
}

func decisionCount(ctx context.Context, uid string) (int64, error) {
	return query[int64](ctx, "SELECT count(*) FROM trading.decisions WHERE agent_uid = $1", uid)
}

// barCount is how many bars the agent has valued itself at.
func barCount(ctx context.Context, uid string) (int64, error) {
	return query[int64](ctx, "SELECT count(*) FROM trading.marks WHERE agent_uid = $1", uid)
}

func decisionsOf(ctx context.Context, uid string) int64 {
	GinkgoHelper()
	count, err := decisionCount(ctx, uid)
	Expect(err).NotTo(HaveOccurred())
	return count
}

func decisions(ctx context.Context) map[string]int64 {
	GinkgoHelper()
	counts := map[string]int64{}
	for _, agent := range agents(ctx) {
		counts[string(agent.UID)] = decisionsOf(ctx, string(agent.UID))
	}
	return counts
}

// equityDifference compares what kubectl shows with the ledger's own sum of
// postings and prices at the bar that the figure speaks of.
func equityDifference(ctx context.Context, name string) (string, error) {
	var agent v1alpha1.TradingAgent
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &agent); err != nil {
		return "", err
	}
	trading := agent.Status.Trading
	if trading == nil || trading.Data == nil || trading.Data.LastBarTime == nil || trading.Equity == "" {
		return "no figures yet", nil
	}
	shown, err := decimal.NewFromString(string(trading.Equity))
	if err != nil {
		return "", err
	}
	sum, err := query[string](ctx, "SELECT trading.equity($1, $2)::text", string(agent.UID), trading.Data.LastBarTime.Time)
	if err != nil {
		return "", err
	}
	booked, err := decimal.NewFromString(sum)
	if err != nil {
		return "", err
	}
	return shown.Sub(booked).String(), nil
}

// expectConsistent holds the ledger against the paper venue's own book, which is
// the judge: no order twice, none lost, no fill booked that was not made.
func expectConsistent(ctx context.Context) {
	GinkgoHelper()
	checks := map[string]string{
		"orders at the venue that the ledger never intended": `SELECT count(*) FROM paper.orders o WHERE NOT EXISTS (SELECT FROM trading.intents i WHERE i.id = o.id)`,
		"orders that the ledger says were accepted and the venue does not have": `SELECT count(*) FROM trading.orders o
			WHERE o.state IN ('Acked', 'Filled', 'Cancelled') AND o.reason = '' AND NOT EXISTS (SELECT FROM paper.orders p WHERE p.id = o.id)`,
		"fills booked that the venue did not make": `SELECT count(*) FROM trading.fills f WHERE NOT EXISTS (SELECT FROM paper.fills p WHERE p.trade_id = f.trade_id)`,
		"decisions on the same bar":                `SELECT count(*) FROM (SELECT FROM trading.decisions GROUP BY agent_uid, pair, bar_end HAVING count(*) > 1) AS twice`,
		"transactions that do not sum to zero":     `SELECT count(*) FROM (SELECT FROM trading.postings GROUP BY transaction_id, agent_uid, currency HAVING sum(amount) <> 0) AS off`,
	}
	for what, sql := range checks {
		Eventually(query[int64]).WithContext(ctx).WithArguments(sql).Should(BeZero(), what)
	}
	// A fill is booked a moment after it is made, so this one settles.
	Eventually(query[int64]).WithContext(ctx).WithArguments(
		`SELECT count(*) FROM paper.fills p WHERE NOT EXISTS (SELECT FROM trading.fills f WHERE p.trade_id = f.trade_id)`,
	).Should(BeZero(), "fills of the venue that the ledger has lost")
}

// killProcess sends SIGKILL to every process of that name inside the cluster.
func killProcess(ctx context.Context, name string) {
	GinkgoHelper()
	kill := exec.CommandContext(ctx, "go", "run", ".", "kill")
	kill.Args = append(kill.Args, name)
	kill.Dir = filepath.Join(root, "hack", "cluster")
	output, err := kill.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	GinkgoWriter.Println(strings.TrimSpace(string(output)))
}

func setTrading(ctx context.Context, name string, state v1alpha1.TradingState) {
	GinkgoHelper()
	agent := &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
	patch := fmt.Sprintf(`{"spec":{"trading":%q}}`, state)
	Expect(cluster.Patch(ctx, agent, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
}

func tradingState(ctx context.Context, name string) (v1alpha1.TradingState, error) {
	var agent v1alpha1.TradingAgent
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &agent); err != nil {
		return "", err
	}
	if agent.Status.Trading == nil {
		return "", nil
	}
	return agent.Status.Trading.State, nil
}

func exists(ctx context.Context, object client.Object, name string) (bool, error) {
	err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// childrenLeft names what agents' labels still stand on.
func childrenLeft(ctx context.Context) ([]string, error) {
	var left []string
	for kind, list := range map[string]client.ObjectList{
		"pod": &corev1.PodList{}, "serviceaccount": &corev1.ServiceAccountList{},
		"role": &rbacv1.RoleList{}, "rolebinding": &rbacv1.RoleBindingList{},
		"controllerrevision": &appsv1.ControllerRevisionList{}, "poddisruptionbudget": &policyv1.PodDisruptionBudgetList{},
	} {
		if err := cluster.List(ctx, list, client.InNamespace(namespace), client.HasLabels{v1alpha1.AgentLabel}); err != nil {
			return nil, err
		}
		err := meta.EachListItem(list, func(object runtime.Object) error {
			left = append(left, kind+"/"+object.(client.Object).GetName())
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

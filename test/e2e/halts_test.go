//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// describeHalts stops the desk by halts of every scope and task, while parts of it
// are down, and releases them again.
func describeHalts() {
	const eur, googl = "eur-trend", "googl-swing"

	DescribeTable("is stopped by a halt where it says so, and goes on when it is released",
		func(ctx SpecContext, halt v1alpha1.Halt, bound ...string) {
			create(ctx, halt)
			Eventually(enforced).WithContext(ctx).WithArguments(halt).Should(Equal(fmt.Sprintf("%d of %d", len(bound), len(bound))))
			for _, name := range []string{eur, googl} {
				Eventually(binds).WithContext(ctx).WithArguments(halt, name).Should(Equal(slices.Contains(bound, name)), name)
			}
			silent(ctx, halt, bound...)
			release(ctx, halt)
			for _, name := range bound {
				Eventually(binds).WithContext(ctx).WithArguments(halt, name).Should(BeFalse(), name)
				Eventually(tradingState).WithContext(ctx).WithArguments(name).Should(Equal(v1alpha1.TradingEnabled), name)
			}
		},
		Entry("everything of the namespace", newHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}), eur, googl),
		Entry("everything of the cluster", newClusterHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}), eur, googl),
		Entry("one agent", newHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Name: eur}), eur),
		Entry("a policy", newHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltRiskPolicy, Name: "careful"}), eur, googl),
		Entry("an account", newHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltTradingAccount, Name: "paper"}), eur, googl),
		Entry("a venue", newClusterHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltVenue, Name: "Paper"}), eur, googl),
		Entry("a pair", newHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltAssetPair, Name: "EUR/USD"}), eur),
		Entry("a model", newHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltModel, Name: "builtin/quorum"}), eur, googl),
	)

	It("closes what it holds under a halt that says Flatten, and opens nothing", func(ctx SpecContext) {
		halt := newHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Name: eur})
		halt.Spec.Task = v1alpha1.HaltFlatten
		create(ctx, halt)
		Eventually(enforced).WithContext(ctx).WithArguments(halt).Should(Equal("1 of 1"))
		held := `SELECT count(*) FROM trading.positions p JOIN trading.agents a ON a.uid = p.agent_uid WHERE a.name = $1 AND quantity <> 0`
		Expect(query[int64](ctx, held, eur)).To(BeZero(), "the venue has confirmed that nothing is held")
		opened := `SELECT count(*) FROM trading.intents i JOIN trading.agents a ON a.uid = i.agent_uid
			WHERE a.name = $1 AND NOT i.reduce_only AND i.recorded_at > $2::timestamptz + interval '2 seconds'`
		Expect(query[int64](ctx, opened, eur, halt.CreationTimestamp.Time)).To(BeZero())
		release(ctx, halt)
	})

	It("obeys a halt while the operator is down, through a restart, and whatever is applied to its agents", func(ctx SpecContext) {
		before := scaleOperator(ctx, 0)
		DeferCleanup(func(ctx SpecContext) { scaleOperator(ctx, before) })
		halt := newHalt(v1alpha1.HaltScope{Type: v1alpha1.HaltEverything})
		create(ctx, halt)
		for _, name := range []string{eur, googl} {
			Eventually(tradingState).WithContext(ctx).WithArguments(name).WithTimeout(10*time.Second).Should(Equal(v1alpha1.TradingHalted), name)
		}
		killProcess(ctx, "trading-agent")
		// What a GitOps engine does all day: the spec says Enabled.
		setTrading(ctx, eur, v1alpha1.TradingReduceOnly)
		setTrading(ctx, eur, v1alpha1.TradingEnabled)
		putAsOldClient(ctx, eur)
		silent(ctx, halt, eur, googl)
		Expect(tradingState(ctx, eur)).To(Equal(v1alpha1.TradingHalted))
		Expect(cluster.Delete(ctx, halt)).To(MatchError(ContainSubstring("release it before it is deleted")))
		scaleOperator(ctx, before)
		Eventually(enforced).WithContext(ctx).WithArguments(halt).Should(Equal("2 of 2"))
		release(ctx, halt)
		Eventually(unready).WithContext(ctx).Should(BeEmpty())
	})
}

// putAsOldClient replaces an agent's object as a client does that is older than
// halts: whole, and without a status or a field that it does not know.
func putAsOldClient(ctx context.Context, name string) {
	GinkgoHelper()
	Eventually(func(ctx context.Context) error {
		agent := &unstructured.Unstructured{}
		agent.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("TradingAgent"))
		if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, agent); err != nil {
			return err
		}
		unstructured.RemoveNestedField(agent.Object, "status")
		unstructured.RemoveNestedField(agent.Object, "spec", "controlPlane")
		agent.SetManagedFields(nil)
		return cluster.Update(ctx, agent)
	}).WithContext(ctx).Should(Succeed())
}

func newSpec(scope v1alpha1.HaltScope) v1alpha1.TradingHaltSpec {
	return v1alpha1.TradingHaltSpec{State: v1alpha1.HaltHalted, Scope: scope, Reason: "to see that it holds"}
}

func newHalt(scope v1alpha1.HaltScope) *v1alpha1.TradingHalt {
	return &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{GenerateName: "stop-", Namespace: namespace}, Spec: newSpec(scope)}
}

func newClusterHalt(scope v1alpha1.HaltScope) *v1alpha1.ClusterTradingHalt {
	return &v1alpha1.ClusterTradingHalt{ObjectMeta: metav1.ObjectMeta{GenerateName: "stop-"}, Spec: newSpec(scope)}
}

// create makes a halt in the name of whoever runs the tests.
func create(ctx context.Context, halt v1alpha1.Halt) {
	GinkgoHelper()
	halt.HaltSpec().RequestedBy = whoami(ctx)
	Expect(cluster.Create(ctx, halt)).To(Succeed())
}

func whoami(ctx context.Context) string {
	GinkgoHelper()
	review := &authenticationv1.SelfSubjectReview{}
	Expect(cluster.Create(ctx, review)).To(Succeed())
	return review.Status.UserInfo.Username
}

// release ends a halt, and removes it as soon as that is allowed.
func release(ctx context.Context, halt v1alpha1.Halt) {
	GinkgoHelper()
	patch := fmt.Sprintf(`{"spec":{"release":{"by":%q,"reason":"it has held"}}}`, whoami(ctx))
	Expect(cluster.Patch(ctx, halt, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
	Eventually(cluster.Delete).WithContext(ctx).WithArguments(halt).Should(Succeed())
}

// enforced is how many agents are done of those that the halt binds.
func enforced(ctx context.Context, halt v1alpha1.Halt) (string, error) {
	if err := cluster.Get(ctx, client.ObjectKeyFromObject(halt), halt); err != nil {
		return "", err
	}
	status := halt.HaltStatus()
	if !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionEnforced) || status.Done == nil || status.Matched == nil {
		return "not yet", nil
	}
	return fmt.Sprintf("%d of %d", *status.Done, *status.Matched), nil
}

// binds reports whether an agent says that the halt binds it.
func binds(ctx context.Context, halt v1alpha1.Halt, name string) (bool, error) {
	var agent v1alpha1.TradingAgent
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &agent); err != nil {
		return false, err
	}
	return agent.Status.Trading != nil && slices.ContainsFunc(agent.Status.Trading.Halts, func(a v1alpha1.HaltAcknowledgement) bool {
		return a.UID == string(halt.GetUID())
	}), nil
}

// silent lets five bars pass and expects no intent from a second after the halt on
// (its creation is known to the second), and no open order.
func silent(ctx context.Context, halt v1alpha1.Halt, names ...string) {
	GinkgoHelper()
	bars := map[string]int64{}
	for _, agent := range agents(ctx) {
		if !slices.Contains(names, agent.Name) {
			continue
		}
		seen, err := barCount(ctx, string(agent.UID))
		Expect(err).NotTo(HaveOccurred())
		bars[string(agent.UID)] = seen
	}
	for uid, seen := range bars {
		Eventually(barCount).WithContext(ctx).WithArguments(uid).Should(BeNumerically(">", seen+5), "prices are not followed under a halt")
		sent, err := query[int64](ctx, "SELECT count(*) FROM trading.intents WHERE agent_uid = $1 AND recorded_at > $2::timestamptz + interval '2 seconds'",
			uid, halt.GetCreationTimestamp().Time)
		Expect(err).NotTo(HaveOccurred())
		Expect(sent).To(BeZero(), "orders were made under a halt")
		Expect(query[int64](ctx, "SELECT count(*) FROM paper.orders WHERE agent_uid = $1 AND state = 'Acked'", uid)).To(BeZero(), "orders are open under a halt")
	}
}

// scaleOperator starts or stops the operator, waits until that is done, and returns
// how many replicas it had.
func scaleOperator(ctx context.Context, replicas int32) (before int32) {
	GinkgoHelper()
	operator := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: "trading-system", Name: "trading-operator"}
	Expect(cluster.Get(ctx, key, operator)).To(Succeed())
	before = *operator.Spec.Replicas
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
	Expect(cluster.Patch(ctx, operator, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
	Eventually(func(ctx context.Context) (int32, error) {
		err := cluster.Get(ctx, key, operator)
		return operator.Status.ReadyReplicas, err
	}).WithContext(ctx).Should(Equal(replicas))
	return before
}

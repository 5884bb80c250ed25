package controllers_test

import (
	"errors"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// administrator is who the tests are at the API server.
const administrator = "admin"

func (d *desk) halt(name string, edit func(*v1alpha1.TradingHaltSpec)) *v1alpha1.TradingHalt {
	GinkgoHelper()
	halt := &v1alpha1.TradingHalt{ObjectMeta: d.meta(name), Spec: v1alpha1.TradingHaltSpec{
		State: v1alpha1.HaltHalted, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltEverything}, Reason: "a test", RequestedBy: administrator,
	}}
	if edit != nil {
		edit(&halt.Spec)
	}
	d.create(halt)
	// What is fenced under it would be noted in the specs after this one.
	DeferCleanup(func() {
		bench.Halts.Break(nil)
		if bench.Client.Get(d.ctx, client.ObjectKeyFromObject(halt), halt) != nil || halt.Spec.Released() {
			return
		}
		d.release(halt)
		Eventually(func(g Gomega) {
			g.Expect(bench.Client.Get(d.ctx, client.ObjectKeyFromObject(halt), halt)).To(Succeed())
			g.Expect(conditionOf(halt, v1alpha1.ConditionEnforced).Reason).To(Equal(v1alpha1.ReasonHaltReleased))
		}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	})
	return halt
}

// obey has an agent acknowledge a halt, or say that it is done.
func (d *desk) obey(agent string, pod *corev1.Pod, halt v1alpha1.Halt, state v1alpha1.HaltProgress) {
	GinkgoHelper()
	d.report(agent, pod, func(trading map[string]any) {
		trading["state"], trading["reason"] = "Halted", v1alpha1.ReasonTradingHalt
		told := map[string]any{
			"uid": string(halt.GetUID()), "halt": halt.Reference(), "state": string(state),
			"acknowledgedTime": metav1.NowMicro().UTC().Format(metav1.RFC3339Micro),
		}
		if state == v1alpha1.HaltDone {
			told["doneTime"] = told["acknowledgedTime"]
		}
		trading["halts"] = []any{told}
	})
}

// eventuallyHalt waits until a halt is as wanted.
func eventuallyHalt(d *desk, halt v1alpha1.Halt, wanted func(Gomega, *v1alpha1.TradingHaltStatus)) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(bench.Client.Get(d.ctx, client.ObjectKeyFromObject(halt), halt)).To(Succeed())
		wanted(g, halt.HaltStatus())
	}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	checkStatus(halt)
}

func (d *desk) release(halt v1alpha1.Halt) {
	GinkgoHelper()
	change(d, halt, func(h v1alpha1.Halt) {
		h.HaltSpec().Release = &v1alpha1.HaltRelease{By: administrator, Reason: "it is over"}
	})
}

// counts are matched, acknowledged, done, absent, overdue.
func counts(s *v1alpha1.TradingHaltStatus) string {
	if s.Matched == nil || s.Acknowledged == nil || s.Done == nil || s.Absent == nil || s.Overdue == nil {
		return "not counted"
	}
	return fmt.Sprintf("%d %d %d %d %d ", *s.Matched, *s.Acknowledged, *s.Done, *s.Absent, *s.Overdue)
}

var _ = Describe("A halt", func() {
	BeforeEach(func() { bench.Halts.Break(nil) })

	It("counts who obeys, and is enforced when all are done", func(ctx SpecContext) {
		d := newDesk(ctx)
		pod := d.trader("eur")
		d.create(d.agent("waits", "GBP/USD"))
		halt := d.halt("stop", nil)
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) {
			g.Expect(counts(s)).To(Equal("2 0 0 1 0 "))
			g.Expect(s.Scope).To(Equal("Everything"))
		})
		d.obey("eur", pod, halt, v1alpha1.HaltAcknowledged)
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) {
			g.Expect(counts(s)).To(Equal("2 1 0 1 0 "))
			g.Expect(s.FirstAcknowledgedTime).NotTo(BeNil())
			g.Expect(s.EnforcedTime).To(BeNil())
		})
		d.obey("eur", pod, halt, v1alpha1.HaltDone)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltEnforced)
		Expect(counts(&halt.Status)).To(Equal("2 1 1 1 0 "))
		Expect(halt.Status.EnforcedTime).NotTo(BeNil())
		Expect(bench.Halts.Done()).To(BeEmpty())

		d.release(halt)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltReleased)
		Expect(bench.Halts.Done()).To(Equal([]string{fmt.Sprint([]string{"unlatch", string(halt.UID), administrator, "it is over"})}))
		Expect(counts(&halt.Status)).To(Equal("2 1 1 1 0 "), "the history has changed")
		Expect(bench.Client.Delete(d.ctx, halt)).To(Succeed())
	})

	It("keeps an agent bound that has left its scope by an edit", func(ctx SpecContext) {
		d := newDesk(ctx)
		d.furnish()
		agent := d.agent("eur", "EUR/USD")
		agent.Labels = map[string]string{"team": "eur"}
		d.create(agent)
		pod := d.bringUp("eur")
		halt := d.halt("team", func(s *v1alpha1.TradingHaltSpec) {
			s.Scope = v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "team=eur"}
		})
		d.obey("eur", pod, halt, v1alpha1.HaltDone)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltEnforced)
		change(d, agent, func(a *v1alpha1.TradingAgent) { a.Labels = nil })
		Consistently(func() string {
			return counts(&get(d, &v1alpha1.TradingHalt{}, "team").Status)
		}).WithTimeout(calm).WithPolling(interval).Should(Equal("1 1 1 0 0 "))
	})

	It("keeps an agent bound that has no process and leaves its scope by an edit", func(ctx SpecContext) {
		d := newDesk(ctx)
		d.furnish()
		agent := d.agent("eur", "GBP/USD")
		agent.Labels = map[string]string{"team": "eur"}
		d.create(agent)
		bench.Halts.Break(map[string]error{"latch": errors.New("the database does not answer")})
		halt := d.halt("team", func(s *v1alpha1.TradingHaltSpec) {
			s.Scope = v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "team=eur"}
		})
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) {
			g.Expect(counts(s)).To(Equal("1 0 0 0 0 "))
			enforced := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionEnforced)
			g.Expect(enforced.Status).To(Equal(metav1.ConditionFalse))
			g.Expect(enforced.Message).To(HaveSuffix(d.namespace + "/eur: the database does not answer"))
		})
		bench.Halts.Break(nil)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltEnforced)
		Expect(counts(&halt.Status)).To(Equal("1 0 0 1 0 "))
		Expect(bench.Halts.Latched(string(halt.UID))).To(ConsistOf(string(agent.UID)))

		change(d, agent, func(a *v1alpha1.TradingAgent) { a.Labels = nil })
		Consistently(func() string {
			return counts(&get(d, &v1alpha1.TradingHalt{}, "team").Status)
		}).WithTimeout(calm).WithPolling(interval).Should(Equal("1 0 0 1 0 "))
		d.release(halt)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltReleased)
		Expect(bench.Halts.Done()).To(ContainElement(fmt.Sprint([]string{"unlatch", string(halt.UID), administrator, "it is over"})))
	})

	It("keeps an agent bound whose process is gone before the edit", func(ctx SpecContext) {
		d := newDesk(ctx)
		d.furnish()
		agent := d.agent("eur", "EUR/USD")
		agent.Labels = map[string]string{"team": "eur"}
		d.create(agent)
		pod := d.bringUp("eur")
		halt := d.halt("team", func(s *v1alpha1.TradingHaltSpec) {
			s.Scope = v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "team=eur"}
		})
		d.obey("eur", pod, halt, v1alpha1.HaltDone)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltEnforced)
		bench.Halts.Break(map[string]error{"latch": errors.New("the database does not answer")})
		change(d, agent, func(a *v1alpha1.TradingAgent) { a.Labels = nil })
		d.kill(pod)
		next := d.pod("eur")
		d.schedule(next)
		d.run(next)
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(agent.Status.PodUID).To(Equal(string(next.UID)))
		})
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("1 0 0 0 0 ")) })
		d.obey("eur", next, halt, v1alpha1.HaltDone)
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("1 1 1 0 0 ")) })
	})

	It("believes no other process than the agent's own", func(ctx SpecContext) {
		d := newDesk(ctx)
		pod := d.trader("eur")
		halt := d.halt("stop", nil)
		another := pod.DeepCopy()
		another.UID = "another"
		d.obey("eur", another, halt, v1alpha1.HaltDone)
		Consistently(func(g Gomega) {
			g.Expect(counts(&get(d, &v1alpha1.TradingHalt{}, "stop").Status)).To(Or(Equal("1 0 0 0 0 "), Equal("not counted")))
		}).WithTimeout(calm).WithPolling(interval).Should(Succeed())
	})

	It("of the cluster binds every namespace", func(ctx SpecContext) {
		d := newDesk(ctx)
		pod := d.trader("only-here")
		halt := &v1alpha1.ClusterTradingHalt{ObjectMeta: metav1.ObjectMeta{GenerateName: "stop-"}, Spec: v1alpha1.TradingHaltSpec{
			State: v1alpha1.HaltReduceOnly, Scope: v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Name: "only-here"}, Reason: "a test", RequestedBy: administrator,
		}}
		d.create(halt)
		DeferCleanup(func() {
			d.release(halt)
			// It is refused until the operator has recorded the release.
			Eventually(func() error { return bench.Client.Delete(d.ctx, halt) }).Should(Succeed())
		})
		d.obey("only-here", pod, halt, v1alpha1.HaltDone)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltEnforced)
		Expect(counts(&halt.Status)).To(Equal("1 1 1 0 0 "))
	})

	It("says why a scope cannot be meant, and is in force nevertheless", func(ctx SpecContext) {
		d := newDesk(ctx)
		pod := d.trader("eur")
		halt := d.halt("stop", func(s *v1alpha1.TradingHaltSpec) {
			s.Scope = v1alpha1.HaltScope{Type: v1alpha1.HaltAgent, Selector: "team=-"}
		})
		eventuallyReady(d, halt, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec)
		d.obey("eur", pod, halt, v1alpha1.HaltDone)
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("1 1 1 0 0 ")) })
	})
})

var _ = Describe("An agent that does not acknowledge a halt", func() {
	// fenced is a halt whose deadline has passed while one agent is silent.
	fenced := func(ctx SpecContext, broken map[string]error) (*desk, *corev1.Pod, *v1alpha1.TradingHalt) {
		d := newDesk(ctx)
		bench.Halts.Break(broken)
		pod := d.trader("eur")
		halt := d.halt("stop", func(s *v1alpha1.TradingHaltSpec) { s.DeadlineSeconds = 1 })
		// In force, its steps would be tried again while another test counts steps.
		DeferCleanup(func() {
			d.release(halt)
			eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltReleased)
		})
		// Its time begins when the operator first meets it silent.
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) { g.Expect(counts(s)).To(Equal("1 0 0 0 0 ")) })
		bench.Clock.SetTime(time.Now().Add(5 * time.Second).Truncate(time.Second))
		return d, pod, halt
	}
	stepsOf := func(s *v1alpha1.TradingHaltStatus) []v1alpha1.FenceStep {
		if len(s.OverdueAgents) != 1 {
			return nil
		}
		return s.OverdueAgents[0].Steps
	}
	terminating := func(d *desk, pod *corev1.Pod) func() bool {
		return func() bool { return get(d, &corev1.Pod{}, pod.Name).DeletionTimestamp != nil }
	}

	It("loses its epoch, its orders at the venue and its pod, each once", func(ctx SpecContext) {
		d, pod, halt := fenced(ctx, nil)
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) {
			g.Expect(counts(s)).To(Equal("1 0 0 0 1 "))
			g.Expect(stepsOf(s)).To(ConsistOf(v1alpha1.FenceEpoch, v1alpha1.FenceVenue, v1alpha1.FencePod))
			g.Expect(s.OverdueAgents[0].Message).To(BeEmpty())
		})
		Eventually(terminating(d, pod)).WithTimeout(patience).WithPolling(interval).Should(BeTrue())
		Expect(*get(d, &corev1.Pod{}, pod.Name).DeletionGracePeriodSeconds).NotTo(BeZero(), "the pod was deleted by force")
		Consistently(bench.Halts.Done).WithTimeout(calm).WithPolling(interval).Should(Equal([]string{
			fmt.Sprint([]string{"fence", string(d.readAgent("eur").UID), string(halt.UID), string(pod.UID)}),
			fmt.Sprint([]string{"stop", d.namespace, "EUR-USD"}),
		}))

		d.kill(pod)
		next := d.pod("eur")
		d.schedule(next)
		d.run(next)
		d.eventually("eur", func(g Gomega, agent *v1alpha1.TradingAgent) {
			g.Expect(agent.Status.PodUID).To(Equal(string(next.UID)))
		})
		d.obey("eur", next, halt, v1alpha1.HaltDone)
		eventuallyReady(d, halt, metav1.ConditionTrue, v1alpha1.ReasonHaltEnforced)
		Expect(halt.Status.OverdueAgents).To(BeEmpty())
	})

	DescribeTable("is fenced by one step where the others fail",
		func(ctx SpecContext, broken map[string]error, steps []v1alpha1.FenceStep, message string) {
			d, pod, halt := fenced(ctx, broken)
			eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) {
				g.Expect(stepsOf(s)).To(ConsistOf(steps))
				g.Expect(s.OverdueAgents[0].Message).To(ContainSubstring(message))
			})
			Eventually(terminating(d, pod)).WithTimeout(patience).WithPolling(interval).Should(BeTrue())
			bench.Halts.Break(nil)
			eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) {
				g.Expect(stepsOf(s)).To(HaveLen(3), "what failed is not tried again")
			})
		},
		Entry("the epoch, while the venue is away", map[string]error{"stop": errors.New("the venue does not answer")},
			[]v1alpha1.FenceStep{v1alpha1.FenceEpoch, v1alpha1.FencePod}, "VenueStopped: the venue does not answer"),
		Entry("the venue, while the ledger is away", map[string]error{"fence": errors.New("the database does not answer")},
			[]v1alpha1.FenceStep{v1alpha1.FenceVenue, v1alpha1.FencePod}, "EpochAdvanced: the database does not answer"),
		Entry("the pod, while both are away", map[string]error{"fence": errors.New("no ledger"), "stop": errors.New("no venue")},
			[]v1alpha1.FenceStep{v1alpha1.FencePod}, "no venue"),
	)

	It("is left alone by a venue that has no such control", func(ctx SpecContext) {
		d, _, halt := fenced(ctx, map[string]error{"stop": fmt.Errorf("paper: %w", errors.ErrUnsupported)})
		eventuallyHalt(d, halt, func(g Gomega, s *v1alpha1.TradingHaltStatus) {
			g.Expect(stepsOf(s)).To(ConsistOf(v1alpha1.FenceEpoch, v1alpha1.FencePod))
			g.Expect(s.OverdueAgents[0].Message).To(BeEmpty())
		})
	})

	It("is not overdue while its process has just begun", func(ctx SpecContext) {
		d := newDesk(ctx)
		bench.Halts.Break(nil)
		d.trader("eur")
		halt := d.halt("stop", func(s *v1alpha1.TradingHaltSpec) { s.DeadlineSeconds = 3600 })
		bench.Clock.SetTime(time.Now().Add(30 * time.Minute).Truncate(time.Second))
		d.touch("eur")
		Consistently(func() string {
			return counts(&get(d, &v1alpha1.TradingHalt{}, halt.Name).Status)
		}).WithTimeout(calm).WithPolling(interval).Should(Or(Equal("1 0 0 0 0 "), Equal("not counted")))
	})
})

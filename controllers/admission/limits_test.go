package admission_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// every sets one limit each, to the value given as text.
var every = []struct {
	field string
	set   func(*v1alpha1.Limits, string)
	// tight, tighter than the policy's limit, which is tighter than loose.
	tight, limit, loose string
}{
	{"order.maxNotional", func(l *v1alpha1.Limits, v string) { l.Order.MaxNotional = v1alpha1.PositiveDecimal(v) },
		"999.999999999999999999", "1000", "1000.000000000000000001"},
	{"order.minNotional", func(l *v1alpha1.Limits, v string) { l.Order.MinNotional = v1alpha1.PositiveDecimal(v) }, "20.5", "20", "19.999999999999999999"},
	{"order.priceCollarFraction", func(l *v1alpha1.Limits, v string) { l.Order.PriceCollarFraction = v1alpha1.Fraction(v) },
		"0.009", "0.02", "0.020000001"},
	{"order.maxPerSecond", func(l *v1alpha1.Limits, v string) { l.Order.MaxPerSecond = number(v) }, "9", "10", "11"},
	{"order.duplicateWindowSeconds", func(l *v1alpha1.Limits, v string) { l.Order.DuplicateWindowSeconds = number(v) }, "100", "99", "10"},
	{"agent.maxDrawdownFraction", func(l *v1alpha1.Limits, v string) { l.Agent.MaxDrawdownFraction = v1alpha1.Fraction(v) },
		"0.09", "0.1", "0.11"},
	{"agent.maxDailyLossFraction", func(l *v1alpha1.Limits, v string) { l.Agent.MaxDailyLossFraction = v1alpha1.Fraction(v) },
		"0", "0.02", "1"},
	{"agent.maxTradesPerDay", func(l *v1alpha1.Limits, v string) { l.Agent.MaxTradesPerDay = new(number(v)) }, "5", "10", "100"},
	{"agent.maxPositions", func(l *v1alpha1.Limits, v string) { l.Agent.MaxPositions = new(number(v)) }, "0", "9", "10"},
	{"agent.maxPositionFraction", func(l *v1alpha1.Limits, v string) { l.Agent.MaxPositionFraction = v1alpha1.Fraction(v) },
		"0.25", "0.250", "0.2500001"},
	{"agent.maxGrossNotional", func(l *v1alpha1.Limits, v string) { l.Agent.MaxGrossNotional = v1alpha1.PositiveDecimal(v) }, "99", "100", "100.000000000000000001"},
	{"agent.maxNetNotional", func(l *v1alpha1.Limits, v string) { l.Agent.MaxNetNotional = v1alpha1.PositiveDecimal(v) }, "0.5", "100", "1000"},
	{"agent.maxLeverage", func(l *v1alpha1.Limits, v string) { l.Agent.MaxLeverage = v1alpha1.PositiveDecimal(v) }, "2", "2.5", "10"},
	{"agent.maxConsecutiveLosses", func(l *v1alpha1.Limits, v string) { l.Agent.MaxConsecutiveLosses = number(v) }, "2", "9", "10"},
	{"agent.stopCoolDownSeconds", func(l *v1alpha1.Limits, v string) { l.Agent.StopCoolDownSeconds = number(v) }, "600", "60", "6"},
	{"agent.maxCorrelatedPositions", func(l *v1alpha1.Limits, v string) { l.Agent.MaxCorrelatedPositions = new(number(v)) }, "0", "1", "2"},
	{"agent.correlationFraction", func(l *v1alpha1.Limits, v string) { l.Agent.CorrelationFraction = v1alpha1.Fraction(v) }, "0.6", "0.7", "0.75"},
	{"agent.maxValueAtRiskFraction", func(l *v1alpha1.Limits, v string) { l.Agent.MaxValueAtRiskFraction = v1alpha1.Fraction(v) }, "0.01", "0.05", "0.051"},
	{"agent.maxVolatilityFraction", func(l *v1alpha1.Limits, v string) { l.Agent.MaxVolatilityFraction = v1alpha1.Fraction(v) }, "0", "0.05", "0.1"},
	{"agent.volatileConfidenceFraction", func(l *v1alpha1.Limits, v string) { l.Agent.VolatileConfidenceFraction = v1alpha1.Fraction(v) }, "0.9", "0.8", "0.79"},
	{"agent.maxAutomaticExits", func(l *v1alpha1.Limits, v string) { l.Agent.MaxAutomaticExits = number(v) }, "3", "9", "10"},
	{"agent.automaticExitWindowSeconds", func(l *v1alpha1.Limits, v string) { l.Agent.AutomaticExitWindowSeconds = number(v) }, "3600", "600", "599"},
	{"data.maxAgeSeconds", func(l *v1alpha1.Limits, v string) { l.Data.MaxAgeSeconds = number(v) }, "99", "100", "1000"},
	{"data.maxFrozenBars", func(l *v1alpha1.Limits, v string) { l.Data.MaxFrozenBars = number(v) }, "3", "9", "10"},
	{"data.maxMissingBars", func(l *v1alpha1.Limits, v string) { l.Data.MaxMissingBars = new(number(v)) }, "0", "9", "10"},
}

// A limit that is added later must be compared, too.
func TestEveryLimitIsTried(t *testing.T) {
	declared, tried := []string{}, make([]string, 0, len(every))
	for group := range reflect.TypeFor[v1alpha1.Limits]().Fields() {
		for limit := range group.Type.Elem().Fields() {
			declared = append(declared, jsonName(group)+"."+jsonName(limit))
		}
	}
	for _, limit := range every {
		tried = append(tried, limit.field)
	}
	slices.Sort(declared)
	slices.Sort(tried)
	if !slices.Equal(declared, tried) {
		t.Errorf("spec.limits has %v; the policy on limits is tried with %v", declared, tried)
	}
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

// below compares two numbers.
func below(a, b string) bool {
	x, _ := new(big.Rat).SetString(a)
	y, _ := new(big.Rat).SetString(b)
	return x.Cmp(y) < 0
}

func number(text string) int32 {
	var value int32
	if _, err := fmt.Sscan(text, &value); err != nil {
		panic(err) //nolint:forbidigo // a limit that is no number is a mistake in the test
	}
	return value
}

// limitsOf builds limits from the fields of every, by what value says of each;
// an empty text sets nothing.
func limitsOf(value func(i int) string) *v1alpha1.Limits {
	limits := &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{}, Agent: &v1alpha1.AgentLimits{}, Data: &v1alpha1.DataLimits{}}
	for i := range every {
		if text := value(i); text != "" {
			every[i].set(limits, text)
		}
	}
	if *limits.Order == (v1alpha1.OrderLimits{}) {
		limits.Order = nil
	}
	if *limits.Agent == (v1alpha1.AgentLimits{}) {
		limits.Agent = nil
	}
	if *limits.Data == (v1alpha1.DataLimits{}) {
		limits.Data = nil
	}
	if *limits == (v1alpha1.Limits{}) {
		return nil
	}
	return limits
}

func only(field int, value string) *v1alpha1.Limits {
	return limitsOf(func(i int) string {
		if i == field {
			return value
		}
		return ""
	})
}

// policyWith is a policy with the given limits.
func policyWith(namespace, name string, limits *v1alpha1.Limits) *v1alpha1.RiskPolicy {
	made := in(namespace, policy(name))
	made.Spec.Order, made.Spec.Agent, made.Spec.Data = *limits.Order, *limits.Agent, limits.Data
	return made
}

func agentUnder(namespace, policy string, limits *v1alpha1.Limits) *v1alpha1.TradingAgent {
	made := in(namespace, agent("trader"))
	made.Spec.RiskPolicyRef.Name, made.Spec.Limits = policy, limits
	return made
}

// inForce waits until the API server judges by a policy: it refuses what is
// looser in every limit.
func inForce(t *testing.T, namespace, policy string) {
	t.Helper()
	loose := agentUnder(namespace, policy, &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{MaxNotional: "999999999999999999"}})
	eventually(t, func(ctx context.Context) string {
		if err := server.Client.Create(ctx, loose.DeepCopy(), client.DryRunAll); !loosens(err) {
			return fmt.Sprintf("RiskPolicy %q is not in force: %v", policy, err)
		}
		return ""
	})
}

func loosens(err error) bool { return err != nil && strings.Contains(err.Error(), "would loosen") }

func TestEachLimitBinds(t *testing.T) {
	namespace := newNamespace(t)
	create(t, policyWith(namespace, "careful", limitsOf(func(i int) string { return every[i].limit })))
	create(t, policyWith(namespace, "another", limitsOf(func(i int) string { return every[i].tight })))
	inForce(t, namespace, "careful")
	for i, limit := range every {
		t.Run(limit.field, func(t *testing.T) {
			for _, allowed := range []string{limit.tight, limit.limit} {
				if err := server.Client.Create(t.Context(), agentUnder(namespace, "careful", only(i, allowed)), client.DryRunAll); err != nil {
					t.Errorf("%s under %s: %v", allowed, limit.limit, err)
				}
			}
			err := server.Client.Create(t.Context(), agentUnder(namespace, "careful", only(i, limit.loose)), client.DryRunAll)
			verb := "allows"
			if below(limit.loose, limit.limit) {
				verb = "asks for"
			}
			want := fmt.Sprintf("spec.limits.%s: Invalid value: %q: would loosen RiskPolicy \"careful\", which %s %s: an agent may only tighten", limit.field, limit.loose, verb, limit.limit)
			if !apierrors.IsInvalid(err) || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("want %q, got %v", want, err)
			}
		})
	}
	// All that is wrong is said at once.
	err := server.Client.Create(t.Context(), agentUnder(namespace, "careful", limitsOf(func(i int) string { return every[i].loose })), client.DryRunAll)
	if err == nil || strings.Count(err.Error(), "would loosen") != len(every) {
		t.Errorf("want %d objections, got %v", len(every), err)
	}
	// A policy that does not exist, or of another namespace, binds nobody.
	for _, free := range []*v1alpha1.TradingAgent{
		agentUnder(namespace, "missing", limitsOf(func(i int) string { return every[i].loose })),
		agentUnder(newNamespace(t), "careful", limitsOf(func(i int) string { return every[i].loose })),
	} {
		if err := server.Client.Create(t.Context(), free, client.DryRunAll); err != nil {
			t.Errorf("nothing is known of the policy: %v", err)
		}
	}
}

// A policy that is tightened later must not hold up what makes nothing looser.
func TestPolicyTightenedLater(t *testing.T) {
	namespace := newNamespace(t)
	ctx := t.Context()
	careful := policyWith(namespace, "careful", limitsOf(func(i int) string { return every[i].limit }))
	another := in(namespace, policy("another"))
	another.Spec.Order.MaxNotional = "500"
	create(t, careful, another, agentUnder(namespace, "careful", &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{MaxNotional: "800"}}))
	careful.Spec.Order.MaxNotional = "100"
	if err := server.Client.Update(ctx, careful); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) string {
		probe := agentUnder(namespace, "careful", &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{MaxNotional: "800"}})
		probe.Name = "probe"
		if err := server.Client.Create(ctx, probe, client.DryRunAll); !loosens(err) {
			return "the tightened policy is not in force"
		}
		return ""
	})
	for _, step := range []struct {
		name    string
		refused bool
		edit    func(*v1alpha1.TradingAgent)
	}{
		{"annotate", false, func(a *v1alpha1.TradingAgent) { a.Annotations = map[string]string{"note": "by hand"} }},
		{"set a finalizer", false, func(a *v1alpha1.TradingAgent) { a.Finalizers = []string{v1alpha1.AgentFinalizer} }},
		{"halt", false, func(a *v1alpha1.TradingAgent) { a.Spec.Trading = v1alpha1.TradingHalted }},
		{"loosen", true, func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "800.01" }},
		{"set another limit too loose", true, func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxPerSecond = 11 }},
		{"take another policy", true, func(a *v1alpha1.TradingAgent) { a.Spec.RiskPolicyRef.Name = "another" }},
		{"write the same number otherwise", false, func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "800.0" }},
		{"tighten, but not enough", false, func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "700" }},
		{"go back", true, func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "800" }},
		{"tighten enough", false, func(a *v1alpha1.TradingAgent) { a.Spec.Limits.Order.MaxNotional = "100" }},
		{"remove", false, func(a *v1alpha1.TradingAgent) { a.Spec.Limits = nil }},
		{"set again", true, func(a *v1alpha1.TradingAgent) {
			a.Spec.Limits = &v1alpha1.Limits{Order: &v1alpha1.OrderLimits{MaxNotional: "700"}}
		}},
	} {
		live := in(namespace, agent("trader"))
		err := server.Client.Get(ctx, client.ObjectKeyFromObject(live), live)
		if err != nil {
			t.Fatal(err)
		}
		step.edit(live)
		err = server.Client.Update(ctx, live)
		if refused := loosens(err); refused != step.refused || !refused && err != nil {
			t.Errorf("%s: refused must be %v, got %v", step.name, step.refused, err)
		}
	}
}

// An agent that is going is judged no more.
func TestLimitsOfAnAgentThatGoes(t *testing.T) {
	namespace := newNamespace(t)
	ctx := t.Context()
	going := agentUnder(namespace, "late", only(0, "800"))
	going.Finalizers = []string{"example.com/one", "example.com/two"}
	create(t, going)
	create(t, policyWith(namespace, "late", limitsOf(func(i int) string { return every[i].tight })))
	inForce(t, namespace, "late")
	if err := server.Client.Delete(ctx, going); err != nil {
		t.Fatal(err)
	}
	if err := server.Client.Get(ctx, client.ObjectKeyFromObject(going), going); err != nil {
		t.Fatal(err)
	}
	going.Finalizers = []string{"example.com/two"}
	going.Spec.Limits.Order.MaxNotional = "1001"
	if err := server.Client.Update(ctx, going); err != nil {
		t.Errorf("an agent that goes is held up: %v", err)
	}
}

// Among a hundred policies the named one is found, within the cost that the API
// server allows, and CEL judges every number as the validator in Go does.
func TestAmongAHundredPolicies(t *testing.T) {
	namespace := newNamespace(t)
	seed := rand.Uint64() //nolint:gosec // draws of a test, which can be repeated by the seed
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // as above
	policies := make([]*v1alpha1.RiskPolicy, 100)
	for i := range policies {
		policies[i] = policyWith(namespace, fmt.Sprintf("policy-%03d", i), randomLimits(random, 1))
		create(t, policies[i])
	}
	for i := range policies {
		inForce(t, namespace, policies[i].Name)
	}
	refusals := 0
	for _, named := range policies {
		for range 3 {
			limits := randomLimits(random, 0.08)
			err := server.Client.Create(t.Context(), agentUnder(namespace, named.Name, limits), client.DryRunAll)
			var wants []string
			for _, want := range v1alpha1.ValidateTighter(limits, named) {
				wants = append(wants, want.Error())
			}
			if len(wants) == 0 {
				if err != nil {
					t.Errorf("%s: want no objection, got %v", named.Name, err)
				}
				continue
			}
			refusals++
			if status := apierrors.APIStatus(nil); !errors.As(err, &status) || !strings.HasSuffix(status.Status().Message, "denied request: "+strings.Join(wants, ", ")) {
				t.Errorf("%s: want %v\n got %v", named.Name, wants, err)
			}
		}
	}
	if refusals == 0 || refusals == 3*len(policies) {
		t.Errorf("%d of %d were refused; that tells nothing", refusals, 3*len(policies))
	}
}

// randomLimits sets every limit with the given probability, the first of all and
// one of the agent's always. Values lie close together, so that they differ in
// any digit.
func randomLimits(random *rand.Rand, probability float64) *v1alpha1.Limits {
	return limitsOf(func(i int) string {
		if i != 0 && every[i].field != "agent.maxTradesPerDay" && random.Float64() >= probability {
			return ""
		}
		switch {
		case strings.HasSuffix(every[i].field, "Fraction"):
			return "0." + digits(random, 1+random.IntN(9))
		case strings.HasSuffix(every[i].field, "Notional"):
			whole := "1" + digits(random, random.IntN(18))
			if random.IntN(2) == 0 {
				return whole
			}
			return whole + "." + digits(random, 1+random.IntN(18))
		}
		return strconv.Itoa(1 + random.IntN(12))
	})
}

// digits are mostly zeros.
func digits(random *rand.Rand, count int) string {
	const drawn = "0000000000000000000000000000123456789"
	text := make([]byte, count)
	for i := range text {
		text[i] = drawn[random.IntN(len(drawn))]
	}
	return string(text)
}

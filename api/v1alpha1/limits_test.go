package v1alpha1

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// settings that are both set and differ, for every limit of the table: the first
// is the stricter.
func strictAndLoose(l *limit) (strict, loose string) {
	strict, loose = "2", "3"
	if strings.HasSuffix(l.name, "Fraction") {
		strict, loose = "0.2", "0.3"
	}
	if l.atLeast {
		return loose, strict
	}
	return strict, loose
}

// with is a set of limits with one of them set.
func with(l *limit, value string) *Limits {
	var all EffectiveLimits
	l.write(&all, value)
	return &Limits{Order: &all.OrderLimits, Agent: &all.AgentLimits, Data: &all.DataLimits}
}

func policyOf(limits *Limits) *RiskPolicy {
	policy := &RiskPolicy{Spec: RiskPolicySpec{Order: *limits.Order, Agent: *limits.Agent, Data: limits.Data}}
	policy.Name = "careful"
	return policy
}

// Every field of the manifest is in the table, and the table's row is that field.
func TestTableHasEveryLimit(t *testing.T) {
	declared, listed := make([]string, 0, len(limits)), make([]string, 0, len(limits))
	for part := range reflect.TypeFor[Limits]().Fields() {
		group, _, _ := strings.Cut(part.Tag.Get("json"), ",")
		for written := range part.Type.Elem().Fields() {
			name, _, _ := strings.Cut(written.Tag.Get("json"), ",")
			declared = append(declared, group+"."+name)
			var all EffectiveLimits
			at := slices.IndexFunc(limits, func(l limit) bool { return l.name == group+"."+name })
			if at < 0 {
				continue
			}
			limits[at].write(&all, "1")
			if reflect.ValueOf(all).FieldByName(written.Name).IsZero() {
				t.Errorf("%s sets another field", limits[at].name)
			}
		}
	}
	for i := range limits {
		listed = append(listed, limits[i].name)
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if !slices.Equal(declared, listed) {
		t.Errorf("the manifest has %v\nthe table has %v", declared, listed)
	}
}

func TestTheStricterLimitHolds(t *testing.T) {
	for i := range limits {
		l := &limits[i]
		strict, loose := strictAndLoose(l)
		inForce := func(own, policy string) (string, ValueSource) {
			agent := agentWith(nil)
			if own != "" {
				agent.Spec.Limits = with(l, own)
			}
			made := policyOf(with(l, policy))
			settings, values := Resolve(agent, made)
			at := slices.IndexFunc(values, func(v EffectiveValue) bool { return v.Field == "limits."+l.name })
			if at < 0 {
				return "", ""
			}
			if read := l.read(&settings.Limits); read != values[at].Value {
				t.Errorf("%s: %s is in force and %s is told", l.name, read, values[at].Value)
			}
			return values[at].Value, values[at].Source
		}
		for _, test := range []struct {
			own, policy, want string
			source            ValueSource
		}{
			{strict, loose, strict, SourceSpec}, {loose, strict, strict, SourceRiskPolicy}, {"", loose, loose, SourceRiskPolicy}, {strict, strict, strict, SourceSpec},
		} {
			if got, source := inForce(test.own, test.policy); got != test.want || source != test.source {
				t.Errorf("%s: %q under %q comes to %s from %s, want %s from %s", l.name, test.own, test.policy, got, source, test.want, test.source)
			}
		}
		if got, source := inForce("", ""); got != l.fallback || (got != "") != (source == SourceDefault) {
			t.Errorf("%s: nobody has set it, and %q from %q is in force", l.name, got, source)
		}
		tighter, looser := ValidateTighter(with(l, strict), policyOf(with(l, loose))), ValidateTighter(with(l, loose), policyOf(with(l, strict)))
		if len(tighter) != 0 || len(looser) != 1 || looser[0].Field != "spec.limits."+l.name {
			t.Errorf("%s: tightened %v, loosened %v", l.name, tighter, looser)
		}
		raised, lowered := Loosened(policyOf(with(l, strict)), policyOf(with(l, loose))), Loosened(policyOf(with(l, loose)), policyOf(with(l, strict)))
		if !slices.Equal(raised, []string{"spec." + l.name}) || len(lowered) != 0 {
			t.Errorf("%s: loosened names %v and %v", l.name, raised, lowered)
		}
	}
}

func TestRemovingALimitLoosens(t *testing.T) {
	none := policyOf(&Limits{Order: &OrderLimits{}, Agent: &AgentLimits{}})
	for i := range limits {
		l := &limits[i]
		if l.fallback != "" {
			continue
		}
		strict, _ := strictAndLoose(l)
		if got := Loosened(policyOf(with(l, strict)), none); !slices.Equal(got, []string{"spec." + l.name}) {
			t.Errorf("%s was removed, and %v is named", l.name, got)
		}
	}
}

func TestValidateSession(t *testing.T) {
	sound := SessionSpec{TimeZone: "America/New_York", Hours: []SessionHours{{"Monday", "09:30", "16:00"}, {"Sunday", "17:00", "24:00"}}}
	for name, test := range map[string]struct {
		change func(*SessionSpec)
		want   string
	}{
		"nothing":      {func(*SessionSpec) {}, ""},
		"zone":         {func(s *SessionSpec) { s.TimeZone = "New York" }, "spec.session.timeZone"},
		"no zone":      {func(s *SessionSpec) { s.TimeZone = "" }, "spec.session.timeZone"},
		"this machine": {func(s *SessionSpec) { s.TimeZone = "Local" }, "spec.session.timeZone"},
		"day":          {func(s *SessionSpec) { s.Hours[0].Day = "monday" }, "spec.session.hours[0].day"},
		"open":         {func(s *SessionSpec) { s.Hours[1].Open = "24:00" }, "spec.session.hours[1].open"},
		"open in one":  {func(s *SessionSpec) { s.Hours[1].Open = "9:30" }, "spec.session.hours[1].open"},
		"close":        {func(s *SessionSpec) { s.Hours[0].Close = "24:01" }, "spec.session.hours[0].close"},
	} {
		made := pair("eur-usd", "EUR", "USD", 0)
		made.Spec.Session = sound.DeepCopy()
		test.change(made.Spec.Session)
		errs := ValidateAssetPair(&made, nil, false)
		if test.want == "" && len(errs) > 0 || test.want != "" && (len(errs) != 1 || errs[0].Field != test.want) {
			t.Errorf("%s: %v", name, errs)
		}
	}
	if got := sound.String(); got != "America/New_York, Monday 09:30 to 16:00 and 1 more" {
		t.Error(got)
	}
}

package tradinghalt

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// A drill has succeeded when somebody has obeyed it, and nobody has not.
func TestDrillsThatSucceeded(t *testing.T) {
	now := time.Date(2026, 11, 23, 17, 45, 0, 0, time.UTC)
	there := func() member {
		return member{agent: &v1alpha1.TradingAgent{}, told: &v1alpha1.HaltAcknowledgement{State: v1alpha1.HaltDone, AcknowledgedTime: new(metav1.NewMicroTime(now))}}
	}
	absent := member{agent: &v1alpha1.TradingAgent{}, absent: true}
	busy := there()
	busy.told.State = v1alpha1.HaltAcknowledged
	for name, c := range map[string]struct {
		drill   v1alpha1.HaltDrill
		members []member
		want    float64
	}{
		"nobody bound":            {v1alpha1.DrillPaper, nil, 0},
		"nobody has a process":    {v1alpha1.DrillPaper, []member{absent}, 0},
		"one has obeyed":          {v1alpha1.DrillPaper, []member{there(), absent}, float64(now.Unix())},
		"one has not done it yet": {v1alpha1.DrillPaper, []member{there(), busy}, 0},
		"no drill":                {"", []member{there()}, 0},
	} {
		registry := prometheus.NewRegistry()
		metrics, err := NewMetrics(registry)
		if err != nil {
			t.Fatal(err)
		}
		halt := &v1alpha1.TradingHalt{ObjectMeta: metav1.ObjectMeta{Namespace: "desk", Name: "drill"}, Spec: v1alpha1.TradingHaltSpec{Drill: c.drill}}
		before := halt.DeepCopy()
		report(halt, c.members, now)
		metrics.tell(before, halt)
		if got := gauge(t, registry, "trading_halt_drill_timestamp_seconds"); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func gauge(t *testing.T, registry prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

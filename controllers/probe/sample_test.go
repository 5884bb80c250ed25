package probe

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/market"
)

func pair(base, tick string) *v1alpha1.AssetPair {
	return &v1alpha1.AssetPair{ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(base)}, Spec: v1alpha1.AssetPairSpec{
		Base: v1alpha1.Currency(base), Quote: "USD", TickSize: v1alpha1.PositiveDecimal(tick), LotSize: "1",
	}}
}

func TestOpenSample(t *testing.T) {
	for _, test := range []struct {
		dataset string
		pairs   []*v1alpha1.AssetPair
		length  time.Duration
		says    string
	}{
		{"sample/eurusd-1h", []*v1alpha1.AssetPair{pair("EUR", "0.00001")}, time.Hour, ""},
		{"sample/{pair}-1d", []*v1alpha1.AssetPair{pair("BTC", "0.01"), pair("ETH", "0.01")}, 24 * time.Hour, ""},
		{"sample/eurusd-5m", []*v1alpha1.AssetPair{pair("EUR", "0.00001")}, 0, "the samples are " + market.Samples()[0]},
		{"sample/eurusd-1h", []*v1alpha1.AssetPair{pair("GBP", "0.00001")}, 0, "holds the prices of EURUSD and the pair is GBP-USD"},
		{"sample/btcusd-1d", []*v1alpha1.AssetPair{pair("BTC", "0.01"), pair("ETH", "0.01")}, 0, "write {pair} where a pair's name stands"},
		{"sample/eurusd-1h", []*v1alpha1.AssetPair{pair("EUR", "a tick")}, 0, "spec.tickSize"},
	} {
		// The second time comes from memory, and must say the same.
		for range 2 {
			found, err := OpenSample(test.dataset, test.pairs)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%s: %v", test.dataset, err)
				}
				continue
			}
			if err != nil || len(found) != len(test.pairs) {
				t.Fatalf("%s: %+v, %v", test.dataset, found, err)
			}
			for _, sample := range found {
				if sample.Length != test.length || sample.Bars < 100 {
					t.Errorf("%s: %+v", test.dataset, sample)
				}
			}
		}
	}
	if !IsSample("sample/eurusd-1h") || IsSample("samples/eurusd-1h") {
		t.Error("only what is below sample/ ships inside the agent")
	}
}

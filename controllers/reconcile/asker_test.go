package reconcile

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// asking runs an asker inside a bubble for some time and returns when it asked.
func asking(t *testing.T, span time.Duration, asked Asked) (times []time.Duration, news int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), span)
		defer cancel()
		began := time.Now()
		asker := NewAsker(AskerOptions{Workers: 2, Timeout: time.Second, MinPause: time.Second, MaxPause: time.Minute}, func(context.Context, string) Asked {
			times = append(times, time.Since(began))
			return asked
		})
		asker.Put("what")
		asker.Put("what")
		if err := asker.Start(ctx); err != nil {
			t.Error(err)
		}
		news = len(asker.Changes())
	})
	return times, news
}

func TestAsker(t *testing.T) {
	agent := &v1alpha1.TradingAgent{ObjectMeta: metav1.ObjectMeta{Name: "alice"}}
	for name, test := range map[string]struct {
		asked       Asked
		least, most int
		news        int
	}{
		"a question that is answered for good is asked once": {Asked{News: []client.Object{agent}}, 1, 1, 1},
		"an answer holds for a while":                        {Asked{Again: time.Minute}, 9, 11, 0},
		// 1, 2, 4 … 32 seconds and then once a minute.
		"failures slow down": {Asked{Failed: true}, 13, 16, 0},
		"failures wait at least as long as they were told to": {Asked{Failed: true, Again: 5 * time.Minute}, 2, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			times, news := asking(t, 10*time.Minute-time.Second, test.asked)
			if len(times) < test.least || len(times) > test.most || news != test.news {
				t.Errorf("asked at %s with %d news, want %d to %d questions and %d news", times, news, test.least, test.most, test.news)
			}
		})
	}
}

package main

import (
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	begin := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	first := sample{begin, 10, 20, 5 << 20}
	for name, test := range map[string]struct {
		last sample
		good bool
	}{
		"nothing has changed":                   {sample{begin.Add(time.Hour), 10, 20, 5 << 20}, true},
		"less than at the start":                {sample{begin.Add(time.Hour), 9, 19, 4 << 20}, true},
		"a little more heap":                    {sample{begin.Add(time.Hour), 10, 20, 6<<20 - 1}, true},
		"a MiB an hour":                         {sample{begin.Add(time.Hour), 10, 20, 6 << 20}, false},
		"a MiB an hour for a day":               {sample{begin.Add(24 * time.Hour), 10, 20, 29 << 20}, false},
		"less than a MiB an hour for a day":     {sample{begin.Add(24 * time.Hour), 10, 20, 28 << 20}, true},
		"as much in a minute as an hour allows": {sample{begin.Add(time.Minute), 10, 20, 6 << 20}, false},
		"a goroutine":                           {sample{begin.Add(time.Hour), 11, 20, 5 << 20}, false},
		"a descriptor":                          {sample{begin.Add(time.Hour), 10, 21, 5 << 20}, false},
	} {
		if err := judge(first, test.last); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What leaks is seen.
func TestSamplesCount(t *testing.T) {
	before := sampleNow()
	stop := make(chan struct{})
	for range 3 {
		go func() { <-stop }()
	}
	if now := sampleNow(); now.goroutines != before.goroutines+3 {
		t.Errorf("%s before and %s after three goroutines more", before, now)
	}
	close(stop)
	if now, err := settled(func(s sample) bool { return s.goroutines == before.goroutines }); err != nil {
		t.Errorf("%s before, and %s when they have ended: %v", before, now, err)
	}
}

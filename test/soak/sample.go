package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

// sample is what the process holds.
type sample struct {
	at                      time.Time
	goroutines, descriptors int
	heap                    uint64
}

// String is the sample in a line.
func (s sample) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.2f MiB of heap", s.goroutines, s.descriptors, float64(s.heap)/(1<<20))
}

// sampleNow counts after everything that can be collected was: twice, because what
// finalizers free is collected the second time.
func sampleNow() sample {
	runtime.GC()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return sample{time.Now(), runtime.NumGoroutine(), descriptors(), memory.HeapAlloc}
}

// descriptors of the process; Linux lists them.
func descriptors() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(open) - 1 // one of them lists the others
}

// settled samples until what ends by itself has ended.
func settled(holds func(sample) bool) (sample, error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		s := sampleNow()
		if holds(s) {
			return s, nil
		}
		if time.Now().After(deadline) {
			return s, errors.New("what was begun does not end")
		}
		<-time.After(10 * time.Millisecond)
	}
}

package main

import (
	"sync/atomic"
	"time"
)

const (
	// bucketWidth is how exactly latencies are counted, up to buckets times it.
	bucketWidth = 20 * time.Microsecond
	buckets     = 100_000
)

// histogram counts latencies from any goroutine.
type histogram struct {
	counts             [buckets]atomic.Uint32
	bytes, nanos, lost atomic.Int64
	max                atomic.Int64
	began              time.Time
}

// seen is what clients have seen in a measurement.
type seen struct {
	Messages int64         `json:"messages"`
	Bytes    int64         `json:"bytes"`
	Seconds  float64       `json:"seconds"`
	Mean     time.Duration `json:"mean"`
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
	Max      time.Duration `json:"max"`
	// Lost connections.
	Lost int64 `json:"lost"`
}

func (h *histogram) begin() {
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.bytes.Store(0)
	h.nanos.Store(0)
	h.max.Store(0)
	h.lost.Store(0)
	h.began = time.Now()
}

func (h *histogram) add(latency time.Duration, size int) {
	h.counts[min(max(0, latency/bucketWidth), buckets-1)].Add(1)
	h.bytes.Add(int64(size))
	h.nanos.Add(int64(latency))
	for most := h.max.Load(); int64(latency) > most && !h.max.CompareAndSwap(most, int64(latency)); most = h.max.Load() {
	}
}

func (h *histogram) end() seen {
	s := seen{Seconds: time.Since(h.began).Seconds(), Bytes: h.bytes.Load(), Max: time.Duration(h.max.Load()), Lost: h.lost.Load()}
	counts := make([]int64, buckets)
	for i := range h.counts {
		counts[i] = int64(h.counts[i].Load())
		s.Messages += counts[i]
	}
	if s.Messages > 0 {
		s.Mean = time.Duration(h.nanos.Load() / s.Messages)
	}
	s.P50, s.P99 = quantile(counts, s.Messages, 0.50), quantile(counts, s.Messages, 0.99)
	return s
}

// quantile is the upper end of the bucket below which a share of all lies.
func quantile(counts []int64, total int64, share float64) time.Duration {
	below := int64(0)
	for i, count := range counts {
		if below += count; float64(below) >= share*float64(total) {
			return time.Duration(i+1) * bucketWidth
		}
	}
	return buckets * bucketWidth
}

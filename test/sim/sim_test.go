package sim

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	seeds = flag.Uint64("seeds", 300, "how many seeds to simulate")
	from  = flag.Uint64("from", 1, "the first of them")
	keep  = flag.Bool("keep", false, "add seeds that fail to seeds.txt")
	tell  = flag.Uint64("tell", 0, "simulate this seed alone and tell what happens")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kept are the seeds that once failed.
func kept(t *testing.T) []uint64 {
	t.Helper()
	text, err := os.ReadFile("seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []uint64
	for line := range strings.Lines(string(text)) {
		word, _, _ := strings.Cut(line, "#")
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		seed, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			t.Fatalf("seeds.txt: %v", err)
		}
		all = append(all, seed)
	}
	return all
}

// simulate runs seeds on every processor and returns what they come to, with one
// hash over all traces.
func simulate(t *testing.T, all []uint64) (Counts, uint64) {
	t.Helper()
	results := make([]Result, len(all))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				result, err := Run(all[i], nil)
				if err != nil {
					t.Error(err)
				}
				results[i] = result
			}
		})
	}
	workers.Wait()
	var sum Counts
	trace := fnv.New64a()
	for i := range results {
		for _, fault := range results[i].Faults {
			t.Error(fault)
		}
		if len(results[i].Faults) > 0 && *keep {
			keepSeed(t, all[i], results[i].Faults[0])
		}
		sum.Add(&results[i].Counts)
		_ = binary.Write(trace, binary.LittleEndian, results[i].Trace)
	}
	return sum, trace.Sum64()
}

func keepSeed(t *testing.T, seed uint64, why string) {
	t.Helper()
	file, err := os.OpenFile("seeds.txt", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(file, "%d # %s\n", seed, why)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// No order is doubled, lost or sent after a halt, and no limit is exceeded,
// whatever happens to the agents, their ledger and their venue.
func TestSeeds(t *testing.T) {
	if *tell != 0 {
		result, err := Run(*tell, os.Stdout)
		if err != nil || len(result.Faults) > 0 {
			t.Fatal(err, result.Faults)
		}
		return
	}
	all := kept(t)
	for i := range *seeds {
		all = append(all, *from+i)
	}
	begun := time.Now()
	sum, trace := simulate(t, all)
	t.Logf("%d seeds in %s, trace %016x", len(all), time.Since(begun).Round(time.Millisecond), trace)
	t.Logf("%d decisions, %d orders left, %d accepted, %d fills", sum.Decisions, sum.Sent, sum.Orders, sum.Fills)
	t.Logf("%d mishaps of requests (%d placements lost, %d expired), %d outages of the ledger, %d debates that hung, %d pages told again",
		sum.Mishaps, sum.Lost, sum.Expired, sum.Outages, sum.Hangs, sum.Repeated)
	t.Logf("%d processes killed, %d stopped, %d doubled, %d halts, %d deletions", sum.Kills, sum.Stops, sum.Doubles, sum.Halts, sum.Deletions)
	if sum.Fills == 0 || sum.Lost == 0 || sum.Kills == 0 || sum.Stops == 0 || sum.Doubles == 0 || sum.Halts == 0 || sum.Deletions == 0 || sum.Outages == 0 || sum.Hangs == 0 {
		t.Error("something that must be tested never happened")
	}
}

// The same seed has the same trace, on one processor and on two.
func TestTracesAreTheSame(t *testing.T) {
	if *tell != 0 {
		return
	}
	all := make([]uint64, 20)
	for i := range all {
		all[i] = *from + uint64(i)
	}
	var traces []uint64
	for _, processors := range []int{1, 2, 2} {
		before := runtime.GOMAXPROCS(processors)
		_, trace := simulate(t, all)
		runtime.GOMAXPROCS(before)
		traces = append(traces, trace)
	}
	if traces[0] != traces[1] || traces[1] != traces[2] {
		t.Errorf("the traces of one processor and of two are %x", traces)
	}
}

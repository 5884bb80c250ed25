//go:build faults

// Package faults breaks the operator's part of the world in every way that can
// be counted, against a real API server: the operator dies at each of its
// writes, its view of the cluster lags, misses events or goes back in time, and
// its objects are led through specs that no example has. Whatever was done, what
// is left must be what an undisturbed operator leaves.
//
// No kubelet, no garbage collector and no agent runs beside the API server, so
// the suite plays them. FAULTS=long tries more of everything, FAULTS_SEED=… takes
// up the seed of an earlier run.
package faults

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

// parallel runs share one API server; more of them keep two processors busy
// while most wait for something.
const parallel = "24"

// garbage is how much may gather before it is collected, in per cent of what is in
// use.
const garbage = 200

var (
	server *testbench.Server
	mapper meta.RESTMapper
	record *recorder
	// long asks for more of everything that is drawn by chance, and for a crash
	// at the operator's Events too.
	long = os.Getenv("FAULTS") == "long"
	seed = int(time.Now().UnixNano() % 1_000_000)
)

// tally is what make faults prints.
var tally = struct {
	sync.Mutex
	scenarios map[string]int
	runs      atomic.Int64
	crashes   atomic.Int64
	findings  atomic.Int64
}{scenarios: map[string]int{}}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	flag.Parse()
	if given := os.Getenv("FAULTS_SEED"); given != "" {
		if seed, err = strconv.Atoi(given); err != nil {
			return 1, fmt.Errorf("FAULTS_SEED must be a whole number: %w", err)
		}
	}
	if chosen := flag.Lookup("test.parallel"); chosen != nil && chosen.Value.String() == chosen.DefValue {
		if err := flag.Set("test.parallel", parallel); err != nil {
			return 1, err
		}
	}
	// Operators that are killed complain; what a failed run needs it keeps itself.
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	if err := collectLess(); err != nil {
		return 1, err
	}
	if server, err = testbench.StartServer(false); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	httpClient, err := rest.HTTPClientFor(server.Config)
	if err != nil {
		return 1, err
	}
	if mapper, err = apiutil.NewDynamicRESTMapper(server.Config, httpClient); err != nil {
		return 1, err
	}
	if err := recordCreated(mapper); err != nil {
		return 1, err
	}
	if record, err = startRecorder(server.Config); err != nil {
		return 1, err
	}
	defer record.stop()
	began := time.Now()
	code = m.Run()
	summarize(time.Since(began))
	return code, nil
}

// collectLess has this process and the API server spend memory rather than time on
// garbage: two processors are what the suite waits for.
func collectLess() error {
	debug.SetGCPercent(garbage)
	return os.Setenv("GOGC", strconv.Itoa(garbage))
}

func summarize(took time.Duration) {
	tally.Lock()
	defer tally.Unlock()
	writes := 0
	for _, n := range tally.scenarios {
		writes += n
	}
	fmt.Printf("faults: %d scenarios with %d writes of the operator, %d crashes at them, %d runs in all, %d differences, seed %d, %s\n",
		len(tally.scenarios), writes, tally.crashes.Load(), tally.runs.Load(), tally.findings.Load(), seed, took.Round(time.Second))
}

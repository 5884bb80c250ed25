package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

var (
	gateTail   = regexp.MustCompile(`([0-9.]+) p99-ns/op`)
	gateAllocs = regexp.MustCompile(`([0-9]+) allocs/op`)
)

// measureGate runs the gate's own benchmark and tells its 99th percentile, and how
// often it needs memory.
func measureGate(ctx context.Context) (time.Duration, int, error) {
	command := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkGate$", "-benchtime", "2s", "-cpu", "1",
		"github.com/three-rivers-tech/trading-operator/internal/risk")
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	if err := command.Run(); err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, said.String())
	}
	tail, allocs := gateTail.FindSubmatch(said.Bytes()), gateAllocs.FindSubmatch(said.Bytes())
	if tail == nil || allocs == nil {
		return 0, 0, fmt.Errorf("the benchmark tells neither:\n%s", said.String())
	}
	nanoseconds, err := strconv.ParseFloat(string(tail[1]), 64)
	if err != nil {
		return 0, 0, err
	}
	count, err := strconv.Atoi(string(allocs[1]))
	return time.Duration(nanoseconds), count, err
}
